"""Statistics that measures share: arguments, distances, fits, standard errors and intervals."""
