"""The bleeds of a phantom: what is drawn, how it moves the brain, how it is painted, and what is true of it."""
