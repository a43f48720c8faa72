"""What a copy of a folder would disclose, and a copy without it."""
