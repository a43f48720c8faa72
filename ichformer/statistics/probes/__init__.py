"""Simple classifiers on frozen features, fitted on many and on few patients, and whether features have collapsed."""
