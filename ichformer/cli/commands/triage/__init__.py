"""Commands about which scan is read first."""
