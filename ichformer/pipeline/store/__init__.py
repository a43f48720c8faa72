"""Prepared scans on disk: the store, its records and its data card."""
