"""Many flight lines: one model, one summary."""
