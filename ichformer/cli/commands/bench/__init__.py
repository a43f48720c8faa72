"""Measures how fast this machine prepares scans, loads batches and trains."""
