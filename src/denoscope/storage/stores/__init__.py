"""Where bytes are stored by key: a folder of the local disk, object storage, or memory."""
