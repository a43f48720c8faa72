"""Measures how fast this machine prepares scans, feeds a training and trains."""
