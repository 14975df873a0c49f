"""Networks and schedulers: loading, calling and conditioning them."""
