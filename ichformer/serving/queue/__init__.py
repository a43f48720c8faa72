"""What a node has received, scored and sent, in one SQLite file."""
