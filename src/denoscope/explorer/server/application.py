"""The addresses that an explorer answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from denoscope.explorer.atlas import LABELS
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.answers import (
    json_body,
    names_in,
    one_answer,
    text_in,
    tile_lines,
    tiles_in,
)
from denoscope.explorer.server.page_server import page_server
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.server.saving import save
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import CellAddress
from denoscope.foundation.errors import UserError


def application(session: Session, port: int) -> Gate:
    """The explorer's server as an ASGI application, which answers for this port only."""
    return page_server(
        session,
        port,
        get={"start": _start, "scene": _scene, "point": _point, "pair": _pair},
        post={"record": _record, "export": save, "view": _view},
    )


async def _start(session: Session, _request: Request) -> Response:
    return JSONResponse({"address": f"#{urlencode(session.start.fields)}"})


async def _scene(session: Session, request: Request) -> Response:
    scene, _ = _parsed(request)
    return await one_answer(session, request, lambda report: session.describe(scene, report))


async def _point(session: Session, request: Request) -> Response:
    scene, rest = _parsed(request, "cell", "layers")
    cell, layers = CellAddress.parse(rest["cell"]), names_in(rest["layers"])
    return await one_answer(session, request, lambda report: session.point(scene, cell, layers, report))


async def _pair(session: Session, request: Request) -> Response:
    scene, rest = _parsed(request, "a", "b", "layers")
    cells, layers = (CellAddress.parse(rest["a"]), CellAddress.parse(rest["b"])), names_in(rest["layers"])
    return await one_answer(session, request, lambda report: session.pair(scene, cells, layers, report))


async def _record(session: Session, request: Request) -> Response:
    body = await json_body(request)
    scene = Scene.of_fields(_texts(body.get("scene"), "scene"))
    cell, layers = CellAddress.parse(text_in(body, "cell")), names_in(text_in(body, "layers"))
    return await one_answer(session, request, lambda report: session.record(scene, cell, layers, report))


async def _view(session: Session, request: Request) -> Response:
    body = await json_body(request)
    scene = Scene.of_fields(_texts(body.get("scene"), "scene"))
    addresses, kind = tiles_in(body), text_in(body, "kind") or LABELS
    return tile_lines(session, addresses, lambda report: session.tiles(scene, addresses, report, kind))


def _parsed(request: Request, *others: str) -> tuple[Scene, Mapping[str, str]]:
    """The scene of a query, and its other fields, empty if they are missing."""
    fields = dict(request.query_params)
    rest = {name: fields.pop(name, "") for name in others}
    return Scene.of_fields(fields), rest


def _texts(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UserError(f"{name} is not an object of strings")
    return value
