"""Pages, cards and files that people read."""
