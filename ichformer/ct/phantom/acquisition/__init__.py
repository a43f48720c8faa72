"""How the scanners of several hospitals see the head of a phantom."""
