"""Random changes to a scan that leave its labels true."""
