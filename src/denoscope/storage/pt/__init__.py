"""Recordings as folders of .pt files."""
