"""Losses that training minimises; the training loop knows none of them by name."""
