"""Grids of voxels, and how one is resampled to another."""
