"""Where the head, the brain and the openings of the skull are in a scan."""
