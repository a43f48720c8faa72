"""Whether a model leans on something that is not blood: parts of scans are exchanged, and the scores compared."""
