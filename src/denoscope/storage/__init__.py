"""Recordings on disk: their plan, their formats, and which of their samples are complete."""
