"""Files in: DICOM, NIfTI, pictures and archives of them."""
