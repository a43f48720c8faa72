"""Frozen features of scans, and what a simple classifier reads from them."""
