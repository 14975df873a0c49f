"""Systems with known values: analytic models as denoisers, and checks of all measures."""
