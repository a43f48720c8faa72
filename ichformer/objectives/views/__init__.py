"""Pretraining by comparing: several views of a scan are looked at, which have to be alike."""
