"""`denoscope noise …`: write initial noises."""
