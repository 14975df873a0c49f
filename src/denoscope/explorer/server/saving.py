"""Files that the server makes of a view, with their progress."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from denoscope.explorer.job_queue import DONE, Job
from denoscope.explorer.saving.saved_file import Progress, SavedFile
from denoscope.explorer.server.answers import Inbox, Lines, json_body, message_of, text_in
from denoscope.explorer.session import Session
from denoscope.explorer.view_address import scene_of


async def save(session: Session, request: Request) -> Response:
    """The answer to a request for the file of a kind of the view at an address."""
    body = await json_body(request)
    address, kind = text_in(body, "address"), text_in(body, "kind")
    scene = scene_of(address)
    session.check_kind(kind)
    lines = saved_lines(session, lambda report: session.save(scene, address, kind, report))
    return Lines(lines)


async def saved_lines(
    session: Session, submit: Callable[[Callable[[Any], None]], Job]
) -> AsyncGenerator[bytes, None]:
    """Lines of JSON: `done` and `count` after each piece, then `name`, `type` and `data` of the file, or `error`.

    The job is cancelled if the page goes away.
    """
    inbox = Inbox()
    job = submit(inbox.put)
    try:
        while (result := await inbox.get()) is not DONE:
            yield json.dumps(_line(result)).encode() + b"\n"
            if isinstance(result, Exception):
                return
    finally:
        session.jobs.cancel([job])


def _line(result: Progress | SavedFile | Exception) -> dict[str, Any]:
    if isinstance(result, Progress):
        return {"done": result.done, "count": result.count}
    if isinstance(result, SavedFile):
        data = base64.b64encode(result.content).decode()
        return {"name": result.name, "type": result.media_type, "data": data}
    return {"error": message_of(result)}
