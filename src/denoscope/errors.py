"""The one exception that stands for a user's mistake, and what other exceptions say in one line."""


class UserError(ValueError):
    """A mistake in what was asked for: one line with what was got, what is allowed, how to mend it."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
