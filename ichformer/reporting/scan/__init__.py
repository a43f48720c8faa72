"""The page and the files of one scan."""
