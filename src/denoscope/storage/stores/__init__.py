"""Where bytes are stored by key: a folder of the local disk, or memory."""
