"""Recording the calls of diffusers pipelines."""
