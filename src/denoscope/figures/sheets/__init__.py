"""Recordings as sheets of images with their classes."""
