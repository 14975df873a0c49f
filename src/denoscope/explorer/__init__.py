"""The explorer of the noise plane in the browser: what it shows, and the server that shows it."""
