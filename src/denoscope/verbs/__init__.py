"""What the command does, a module for each kind of verb."""
