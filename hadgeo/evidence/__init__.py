"""What was measured at an anomaly, and what was expected there."""
