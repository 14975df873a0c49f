"""The addresses that the explorer of a stored map answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from denoscope.explorer.map_files.map_session import MapSession
from denoscope.explorer.server.answers import json_body, one_answer, tile_lines, tiles_in
from denoscope.explorer.server.page_server import page_server
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.tile_address import CellAddress
from denoscope.foundation.errors import UserError


def map_application(session: MapSession, port: int) -> Gate:
    """The server of a stored map as an ASGI application, which answers for this port only."""
    get = {"start": _start, "scene": _scene, "point": _point}
    return page_server(session, port, get=get, post={"view": _view})


async def _start(session: MapSession, _request: Request) -> Response:
    return JSONResponse({"address": f"#{urlencode({'map': session.map.name})}"})


async def _scene(session: MapSession, request: Request) -> Response:
    _check_name(session, request.query_params.get("map"))
    return await one_answer(session, request, session.describe)


async def _point(session: MapSession, request: Request) -> Response:
    _check_name(session, request.query_params.get("map"))
    cell = CellAddress.parse(request.query_params.get("cell", ""))
    return await one_answer(session, request, lambda report: session.point(cell, report))


async def _view(session: MapSession, request: Request) -> Response:
    body = await json_body(request)
    scene = body.get("scene")
    _check_name(session, scene.get("map") if isinstance(scene, dict) else None)
    addresses = tiles_in(body)
    return tile_lines(session, addresses, lambda report: session.tiles(addresses, report))


def _check_name(session: MapSession, name: Any) -> None:
    """Refuse a view of something else.

    Raises: UserError
    """
    if name != session.map.name:
        wanted = f"the map {str(name)[:80]}" if name else "a model"
        raise UserError(
            f"this view is of {wanted}, and this explorer shows {session.map.name}; start another one with: denoscope "
            f"explore {str(name)[:80] if name else ''}".rstrip()
        )
