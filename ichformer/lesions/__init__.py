"""Lesions of one scan: from a map of probabilities to volumes, sides, diameters and the shift of the midline."""
