"""The addresses that the explorer of a recording answers."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from denoscope.explorer.page_file import PAGE
from denoscope.explorer.server.answers import names_in, one_answer
from denoscope.explorer.server.page_server import page_server
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.sheets.sheet_session import SheetSession
from denoscope.foundation.errors import UserError

ROWS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


def sheet_application(session: SheetSession, port: int) -> Gate:
    """The server of a recording's sheet as an ASGI application, which answers for this port only."""
    pages = [
        Route("/", lambda _request: RedirectResponse("/sheet")),
        Route("/sheet", lambda _request: FileResponse(PAGE / "sheet.html")),
    ]
    get = {"sheet": _sheet, "images": _images, "labels": _labels, "sample": _sample, "samples": _samples}
    return page_server(session, port, get=get, pages=pages)


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
