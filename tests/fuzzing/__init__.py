"""Mutants of sound inputs of every kind, run through the real commands; for a test and for `benchmarks/fuzz.py`."""
