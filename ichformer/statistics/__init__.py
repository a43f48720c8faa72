"""Metrics, intervals and tests on arrays alone, with NumPy, SciPy and scikit-learn."""
