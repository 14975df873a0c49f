"""The denoising loop, and gradients through it."""
