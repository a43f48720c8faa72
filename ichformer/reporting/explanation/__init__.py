"""What is written about the maps of a scan: pictures, voxels, and what each map is."""
