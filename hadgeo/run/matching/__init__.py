"""Finding more like a known spectrum; see `hadgeo.run.matching.search`."""
