"""The model families, all under one contract."""
