"""Reading and replacing what passes through the modules of a network."""
