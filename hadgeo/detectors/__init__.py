"""Detectors behind one contract; see `hadgeo.detectors.base`."""
