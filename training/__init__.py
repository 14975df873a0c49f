"""Training of the bundled models, outside of the package: `python -m training`."""
