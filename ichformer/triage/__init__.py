"""What a flag on suspicious studies changes in a reading room: queueing formulas, and a simulation on NumPy alone."""
