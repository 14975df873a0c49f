"""Reports: one page of HTML about recordings and results, which needs nothing beside it."""
