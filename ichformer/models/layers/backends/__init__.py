"""Layers written for one kind of device."""
