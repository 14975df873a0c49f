"""What all other packages build on: errors, validation, files, tensors on disk, random streams, memory, representations."""
