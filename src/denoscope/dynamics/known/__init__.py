"""Systems whose numbers are known, and the self-check that measures them."""
