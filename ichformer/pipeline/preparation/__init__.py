"""From a Study index to a store."""
