"""Commands about the DICOM node."""
