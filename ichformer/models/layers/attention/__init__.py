"""Attention and the transformer blocks that are built on it."""
