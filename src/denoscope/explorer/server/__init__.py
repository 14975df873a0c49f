"""The explorer's server: routes, safety, and the process that runs it."""
