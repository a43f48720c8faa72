"""The table of predictions: what it holds, how it is checked, read and written."""
