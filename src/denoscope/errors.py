"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake in what was asked for: one line with what was got, what is allowed, how to mend it."""
