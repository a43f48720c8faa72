"""What a node says of itself: its status page, its health and its metrics."""
