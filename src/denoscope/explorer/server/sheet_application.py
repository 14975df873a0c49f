"""The addresses that the explorer of a recording answers."""

from __future__ import annotations

import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from denoscope.explorer.page_file import PAGE
from denoscope.explorer.server.answers import answering, names_in, one_answer
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.sheets.sheet_session import SheetSession
from denoscope.foundation.errors import UserError

ROWS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


def sheet_application(session: SheetSession, port: int) -> Gate:
    """The server of a recording's sheet as an ASGI application, which answers for this port only."""
    routes = [
        Route("/", lambda _request: RedirectResponse("/sheet")),
        Route("/sheet", lambda _request: FileResponse(PAGE / "sheet.html")),
        Route("/api/sheet", answering(session, _sheet)),
        Route("/api/images", answering(session, _images)),
        Route("/api/labels", answering(session, _labels)),
        Route("/api/sample", answering(session, _sample)),
        Route("/api/samples", answering(session, _samples)),
        Mount("/", StaticFiles(directory=PAGE)),
    ]
    return Gate(Starlette(routes=routes), port)


async def _sheet(session: SheetSession, request: Request) -> Response:
    return await one_answer(session, request, session.describe)


async def _images(session: SheetSession, request: Request) -> Response:
    text = _field(request, "rows")
    if ROWS.fullmatch(text) is None:
        raise UserError(f"rows are {text[:80]!r}; allowed: integers, such as 0,1,2")
    rows = list(dict.fromkeys(map(int, text.split(","))))
    return await one_answer(session, request, lambda report: session.images(rows, report))


async def _labels(session: SheetSession, request: Request) -> Response:
    return await one_answer(session, request, session.label_all)


async def _sample(session: SheetSession, request: Request) -> Response:
    name, layers = _field(request, "sample"), names_in(_field(request, "layers"))
    return await one_answer(session, request, lambda report: session.sample(name, layers, report))


async def _samples(session: SheetSession, request: Request) -> Response:
    names, layers = (_field(request, "a"), _field(request, "b")), names_in(_field(request, "layers"))
    return await one_answer(session, request, lambda report: session.pair(names, layers, report))


def _field(request: Request, name: str) -> str:
    """A field of a query; empty if it is missing."""
    return request.query_params.get(name, "")
