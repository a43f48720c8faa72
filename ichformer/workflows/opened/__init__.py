"""A folder with a model as Python users have it."""
