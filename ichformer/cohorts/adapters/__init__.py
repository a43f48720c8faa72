"""One adapter for each public set, and for the phantoms."""
