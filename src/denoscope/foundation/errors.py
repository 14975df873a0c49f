"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake in what was asked for: one line with what was got, what is allowed, how to mend it."""


def first_line(error: BaseException) -> str:
    """What an error of another library says, cut to fit into one line of ours.

    A line that ends in a colon only announces the next one.
    """
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        type(error).__name__
    ]
    return f"{first} {rest[0]}" if first.endswith(":") and rest else first
