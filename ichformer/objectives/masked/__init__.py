"""Pretraining by hiding: tokens of a scan are hidden, and a model gives their pixels or their features."""
