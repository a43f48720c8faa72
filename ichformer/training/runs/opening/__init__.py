"""From what people name as a run to its folder: bundles are unpacked, and addresses are fetched."""
