"""Any folder of scans, with a CSV of labels or without."""
