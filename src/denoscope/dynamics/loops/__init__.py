"""Closed loops: Lyapunov exponents, orbits, recurrence, dimensions."""
