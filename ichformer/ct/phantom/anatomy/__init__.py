"""The healthy head of a phantom, part by part."""
