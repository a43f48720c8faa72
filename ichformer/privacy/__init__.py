"""What a copy of a folder would disclose about patients and machines, and a copy without that."""
