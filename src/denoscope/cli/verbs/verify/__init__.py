"""`denoscope verify …`: check recordings and the arithmetic behind them."""
