"""The DICOM node: it receives studies, scores them, and sends the results to where they are read."""
