"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake in what was asked for: one line with what was got, what is allowed, how to mend it."""


def first_line(error: BaseException) -> str:
    """What an error of another library says, cut to fit into one line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
