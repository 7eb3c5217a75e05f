"""Maps against a truth, and detectors against each other."""
