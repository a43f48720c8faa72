"""Transformers that find intracranial haemorrhage and its five subtypes on non-contrast head CT, in JAX and Flax.

Importing this package loads no JAX: each room (``ichformer.ct``, ``ichformer.models`` ...) imports what it needs.
"""

__version__ = "0.1.0"

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
"""The six labels, in the one order that is used everywhere (RSNA 2019; "any" is the maximum of the five)."""

SUBTYPES = LABELS[:-1]
"""The five subtypes, in the order of ``LABELS``."""
