"""The table of predictions: its columns, its checks, and how it is read and written."""
