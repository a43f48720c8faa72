"""Reading files: DICOM, NIfTI, pictures, and archives of them."""
