"""Benchmarks on this machine; each function returns a dict of figures."""
