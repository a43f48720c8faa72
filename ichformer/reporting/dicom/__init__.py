"""What a model says of a DICOM series, as DICOM objects that an archive keeps and a viewer shows."""
