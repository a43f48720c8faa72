"""All scans of a table of predictions, the most urgent first."""
