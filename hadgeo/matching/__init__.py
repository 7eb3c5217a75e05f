"""Finding more like a known spectrum; see `hadgeo.matching.search`."""
