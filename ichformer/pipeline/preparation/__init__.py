"""Prepares the scans of a Study index into a store."""
