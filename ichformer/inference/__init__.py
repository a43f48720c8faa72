"""Trained models at work: runs and ensembles alike, from prepared scans to scores."""
