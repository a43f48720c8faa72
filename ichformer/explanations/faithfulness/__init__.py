"""Whether a map is true: what happens to the score, to the map and to the place of the finding."""
