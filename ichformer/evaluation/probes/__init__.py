"""What a simple classifier reads from frozen features of scans, and whether the features have collapsed."""
