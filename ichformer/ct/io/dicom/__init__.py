"""DICOM series: found, told apart, sorted, and read as Volumes."""
