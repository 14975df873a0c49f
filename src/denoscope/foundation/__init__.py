"""What everything else stands on: errors, validation, random streams, files, checkpoints, memory."""
