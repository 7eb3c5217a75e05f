"""The dock in which a user goes through anomalies, looks at their spectra, and says of each what it is."""
