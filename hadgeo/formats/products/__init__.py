"""Products of single sensors, one module each: what documentation says of axes, place, fill and wavelengths."""
