"""The denoising map as a dynamical system: arrays in, arrays out; every number with its interval and its limits."""
