"""`denoscope dynamics …`: measure the denoising map as a dynamical system."""
