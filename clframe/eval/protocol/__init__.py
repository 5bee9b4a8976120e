"""Protocols: tuning and evaluation as separate phases on separate data."""
