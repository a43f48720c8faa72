"""Public and private sets of head CT under one schema: paths, labels, patients and splits. No JAX."""
