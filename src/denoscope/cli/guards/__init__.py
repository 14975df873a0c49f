"""What ends a command in one line: Ctrl-C, a lack of memory, and output that nobody reads."""
