"""The server of a page: its files, and the answers of a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from denoscope.explorer.page_file import PAGE
from denoscope.explorer.server.answers import error_answer
from denoscope.explorer.server.safety import Gate
from denoscope.foundation.errors import UserError

Session = TypeVar("Session")
Endpoint = Callable[[Session, Request], Awaitable[Response]]


def page_server(
    session: Session,
    port: int,
    *,
    get: Mapping[str, Endpoint[Session]],
    post: Mapping[str, Endpoint[Session]] | None = None,
    pages: Sequence[Route] = (),
) -> Gate:
    """The server of a page as an ASGI application, which answers for this port only.

    Args:
        get, post: the endpoints below `/api/` by name.
        pages: addresses that are not files of the page.
    """
    routes = [
        Route(f"/api/{name}", _answering(session, endpoint), methods=[method])
        for method, endpoints in (("GET", get), ("POST", post or {}))
        for name, endpoint in endpoints.items()
    ]
    files = Mount("/", StaticFiles(directory=PAGE, html=True))
    return Gate(Starlette(routes=[*pages, *routes, files]), port)


def _answering(session: Session, endpoint: Endpoint[Session]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose errors are answers."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(session, request)
        except UserError as error:
            return error_answer(error)

    return answered
