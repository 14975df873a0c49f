"""Recordings as browsable sheets."""
