"""What a training tells of itself: metrics, wall time, profiles."""
