"""Findings in the head of a phantom: bleeds, and what looks like them."""
