"""Public sets of head CT under one schema: where scans lie, what is known of them, how they are split. No JAX."""
