"""A detector, a format and a product for hadgeo; docs/extending.md goes through them step by step."""
