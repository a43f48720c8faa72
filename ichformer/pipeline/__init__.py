"""From volumes to batches: the preparation, the store and the loader."""
