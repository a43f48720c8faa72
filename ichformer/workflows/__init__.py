"""One function for each thing that a command does from end to end."""
