"""`denoscope cluster …`."""
