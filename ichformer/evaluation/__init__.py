"""How good a model is, with honest intervals. NumPy, SciPy and scikit-learn, no JAX."""
