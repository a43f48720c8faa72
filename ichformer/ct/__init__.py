"""The scan itself: reading, geometry, windows, audit, phantoms. NumPy only, no JAX."""
