"""Scans to predictions: which series, how each is read, scored and written, and what is said of the others."""
