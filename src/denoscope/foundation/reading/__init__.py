"""Reading files that others may have made: of any size, any content, and of any kind."""
