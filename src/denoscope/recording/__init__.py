"""Recordings: planned, made, opened, compared and verified."""
