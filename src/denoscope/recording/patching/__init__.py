"""Activation patching: one recording's states in the run of another."""
