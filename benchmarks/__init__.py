"""What recording costs, beside denoising alone and beside other ways to keep the same states."""
