"""Commands that pass a run on."""
