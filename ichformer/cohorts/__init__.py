"""Public sets of head CT under one schema: tables only, no pixels, no JAX."""
