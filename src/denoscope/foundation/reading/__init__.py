"""Reading of untrusted files, which may be of any size, content and file type."""
