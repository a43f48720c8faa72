"""What a training reports: metrics, wall time, profiles."""
