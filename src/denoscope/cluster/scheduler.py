"""A Dask scheduler that runs already: whether one answers at an address."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled

CONNECT_SECONDS = 10
"""How long a connection is tried, and again as long an answer is waited for."""
REASON_SECONDS = 1
"""How long the system is asked why a connection has failed."""
TLS = "tls://"
CERTIFICATES = "distributed.comm.tls of Dask's configuration"
SAME_AUTHORITY = f"this process and the scheduler need certificates of the same authority ({CERTIFICATES})"


def check_scheduler(address: str) -> None:
    """Check that a Dask scheduler answers at an address: a client of anything else would wait for ever.

    Raises: UserError saying what is wrong, and what to do.
    """
    from distributed.comm import CommClosedError
    from distributed.utils import LoopRunner

    if address.startswith(TLS):
        _check_certificates(address)
    try:
        # Dask's runner has a thread of its own: in a notebook this one runs a loop already.
        answer = LoopRunner(asynchronous=False).run_sync(_identity, address)
    except Exception as error:  # what else listens there may send anything
        # A scheduler that refuses a certificate ends the connection.
        is_refused = address.startswith(TLS) and isinstance(error, CommClosedError)
        if is_refused or _refusal(address):
            raise unreachable(address, error) from error
        raise _no_scheduler(address) from error
    if not (isinstance(answer, dict) and "workers" in answer):
        raise _no_scheduler(address)


def unreachable(address: str, error: BaseException) -> UserError:
    """The error for an address at which nothing listens, or which refuses the certificate of this process."""
    certificates = f"; {SAME_AUTHORITY}" if address.startswith(TLS) else ""
    refusal = _refusal(address)  # Dask may say only that its time is over
    reason = (refusal and refusal.strerror) or first_line(error)
    return UserError(
        f"{spelled('cluster')}: {address} cannot be reached: {reason}; check that "
        "dask scheduler is running, that this is the address it printed, and that no firewall blocks the port"
        f"{certificates}"
    )


async def _identity(address: str) -> Any:
    """What listens at an address, in its own words; only a scheduler names its workers."""
    from distributed import Security
    from distributed.comm import connect
    from distributed.core import send_recv

    certificates = Security().get_connection_args("client")
    async with asyncio.timeout(2 * CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS, **certificates)
        try:
            return await send_recv(comm, op="identity")
        finally:
            comm.abort()


def _no_scheduler(address: str) -> UserError:
    tls = "" if address.startswith(TLS) else f" (it begins with {TLS} where certificates are needed)"
    return UserError(
        f"{spelled('cluster')}: {address} does not answer as a Dask scheduler; name the address that dask scheduler printed, "
        f"not that of its dashboard or of a worker{tls}"
    )


def _refusal(address: str) -> OSError | None:
    """The error of the system for a plain connection to an address; None if it can be made."""
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname, place.port), timeout=REASON_SECONDS).close()
    except OSError as error:
        return error
    return None


def _check_certificates(address: str) -> None:
    """Check that Dask's configuration names certificates that can be read.

    Raises: UserError saying what is missing.
    """
    from distributed import Security

    try:
        context = Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{spelled('cluster')} is {address}, and a certificate or key that {CERTIFICATES} names cannot be used: "
            f"{first_line(error)}"
        ) from error
    if context is None:
        raise UserError(
            f"{spelled('cluster')} is {address}, which needs certificates; set {CERTIFICATES}: ca-file, client.cert and "
            "client.key, or the variables DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
        )
