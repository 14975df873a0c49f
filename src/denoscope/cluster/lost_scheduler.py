"""A Dask scheduler that was there and is gone: what is said in place of all that Dask raises then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client

from denoscope.cluster import scheduler
from denoscope.foundation.errors import UnfinishedError, UserError


def is_lost(client: Client) -> bool:
    """Whether the connection of a client to its scheduler is lost.

    A client that tries to connect again counts as lost: a scheduler that has ended knows nothing of its tasks.
    """
    return bool(client.status != "running")


def lost(client: Client, kept: str) -> UnfinishedError:
    """The error for a scheduler that is gone.

    Args:
        kept: what is kept, and how the work goes on, at the end of the message.
    """
    address = client.scheduler.address if client.scheduler is not None else "of the workers"
    return UnfinishedError(
        f"the scheduler {address} is gone: it has ended, or the network to it has failed; {kept}", {}
    )


def check_present(client: Client) -> None:
    """Check that the scheduler is there, before a call that would wait for it.

    Raises: ConnectionError if it is gone.
    """
    if is_lost(client):
        raise ConnectionError("the scheduler is gone")


@contextmanager
def lost_reported(client: Client, kept: str) -> Iterator[None]:
    """Raise an UnfinishedError in place of what Dask raises if the scheduler is lost while the block runs."""
    try:
        yield
    except (UserError, UnfinishedError):
        raise
    except Exception as error:  # Dask raises whatever the lost connection causes
        if not (is_lost(client) or (isinstance(error, OSError) and not _answers(client))):
            raise
        raise lost(client, kept) from error


def _answers(client: Client) -> bool:
    """Whether the scheduler answers: a call may fail before the client notices that its connection is lost."""
    assert client.scheduler is not None
    try:
        client.sync(client.scheduler.identity, callback_timeout=scheduler.CONNECT_SECONDS)
    except Exception:
        return False
    return True
