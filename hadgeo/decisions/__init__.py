"""From scores to decisions: calibration, thresholds, groups of pixels, polygons."""
