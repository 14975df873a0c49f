"""Writing into the states of a network while it runs."""
