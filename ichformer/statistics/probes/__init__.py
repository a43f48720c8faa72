"""The mathematics of probes of frozen features, on arrays alone."""
