"""Two scans of a patient, compared: how each is read and scored, and what is refused."""
