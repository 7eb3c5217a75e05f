"""Score maps on disk: how one grows, is finished, read back and joined with others."""
