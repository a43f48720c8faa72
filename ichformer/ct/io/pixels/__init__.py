"""The pixels of one DICOM file: decoded safely and brought to Hounsfield units."""
