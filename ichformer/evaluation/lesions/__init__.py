"""How well lesion maps agree with the masks of readers."""
