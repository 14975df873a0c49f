"""The process of an explorer: its port, its link, and its end."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable

from denoscope.explorer.server.safety import Gate
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

LOGGER = logging.getLogger(__name__)
HOST = "127.0.0.1"
PORTS_TRIED = 20
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Variables of the environment that name a display."""


def serve(
    application: Callable[[int], Gate],
    close: Callable[[], None],
    *,
    port: int,
    browser: bool,
    view: str = "",
) -> None:
    """Serve an explorer to this machine until Ctrl-C, on the first free port from `port` on.

    Args:
        application: makes the application that answers for a port.
        close: is called at the end.
        view: the part of a link from # on that the page opens.

    Raises: UserError if there is no free port.
    """
    import uvicorn

    with bound(port) as listening:
        taken = listening.getsockname()[1]
        if taken != port:
            LOGGER.warning("port %s is in use; taking %s", port, taken)
        gate = application(taken)
        config = uvicorn.Config(
            gate,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=2**14,
        )
        print(gate.link + view, flush=True)
        print("Ctrl-C stops the explorer.", flush=True)
        if browser:
            open_browser(gate.single_link() + view)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            close()


def open_browser(link: str) -> None:
    """Open a link in the user's browser, without waiting for it: a browser may wait for the page in turn.

    Without a display only browsers in the terminal are left, where the explorer runs.
    """
    if not (sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)):
        LOGGER.warning("no display was found: open the link yourself")
        return
    threading.Thread(target=_open, args=(link,), daemon=True).start()


def _open(link: str) -> None:
    if not webbrowser.open(link):
        LOGGER.warning("no browser was found: open the link yourself")


def bound(port: int) -> socket.socket:
    """A socket that listens to this machine only, on the first free port from `port` on.

    Raises: UserError if the next 20 ports are all in use or not allowed.
    """
    for number in range(port, min(port + PORTS_TRIED, 65536)):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            listening.listen()
        except OSError:
            listening.close()
            continue
        return listening
    raise UserError(
        f"{spelled('port')} is {port}, and it and the next {PORTS_TRIED - 1} ports are in use or not allowed; name another one"
    )
