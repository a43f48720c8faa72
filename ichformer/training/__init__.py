"""One pure step, and what runs it: state, optimiser, parallelism, checkpoints, loop."""
