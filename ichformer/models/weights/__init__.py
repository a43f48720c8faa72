"""Weights of other people's libraries, brought into our modules."""
