"""Grids of voxels and how one becomes another."""
