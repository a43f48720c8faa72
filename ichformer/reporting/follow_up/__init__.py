"""What people read of two scans of a patient: a page, the numbers, and lines for the terminal."""
