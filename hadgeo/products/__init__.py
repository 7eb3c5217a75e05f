"""From scores to decisions: thresholds, polygons, evidence, pictures, evaluation, manifests."""
