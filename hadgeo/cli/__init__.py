"""hadgeo."""
