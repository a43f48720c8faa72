"""The computation of a run with its parameters inside, for programs that know nothing of ichformer."""
