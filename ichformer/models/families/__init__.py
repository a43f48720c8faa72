"""The model families, one file each, with what they share and the sizes that come with the package."""
