"""Encoders of a slice or of a whole scan, and the registry of those for slices."""
