"""What a simple classifier reads from a table of frozen features of scans (``statistics.probes`` has the fits)."""
