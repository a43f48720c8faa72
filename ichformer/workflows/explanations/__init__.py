"""What explains the scores of a run: maps of a scan, methods beside controls, an audit for shortcuts."""
