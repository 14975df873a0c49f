"""Derivatives of the denoising map: spectra, growth, perturbations of finite size."""
