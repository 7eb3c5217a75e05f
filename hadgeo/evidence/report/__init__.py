"""A page in which anomalies are looked at one by one, and judged: one file that needs no network."""
