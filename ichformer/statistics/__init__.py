"""Figures of merit and their intervals, on arrays alone. NumPy, SciPy and scikit-learn."""
