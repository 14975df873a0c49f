"""Runs of a recording: its samples are denoised and their states written, by this process or by workers."""
