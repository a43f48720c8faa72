"""A run as something to pass on: a folder, a bundle, or its computation for other programs."""
