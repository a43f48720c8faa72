"""How fast the parts that feed a training are, on this machine; each function gives a dict of figures."""
