"""The optimiser, its schedule, and the depth of each parameter."""
