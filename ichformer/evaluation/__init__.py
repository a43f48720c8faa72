"""Evaluation of tables of predictions: every figure with its interval. It imports no JAX."""
