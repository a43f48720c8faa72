"""The names that other libraries give to the tensors of each architecture; one file an architecture."""
