"""Where the model looked, and whether that is true."""
