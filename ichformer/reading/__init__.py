"""The path into the reading room: a series in, a report out."""
