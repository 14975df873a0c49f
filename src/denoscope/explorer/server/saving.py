"""Files that the server makes of a view, with their progress."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from denoscope.explorer.job_queue import DONE
from denoscope.explorer.saving.saved_file import Progress, SavedFile
from denoscope.explorer.server.answers import Inbox, Lines, json_body, message_of, text_in
from denoscope.explorer.session import Session
from denoscope.explorer.view_address import scene_of


async def save(session: Session, request: Request) -> Response:
    """The file of a view, in lines of JSON.

    They hold `done` and `count` after each piece of work, then `name`, `type`, `note` and `data` of the file, or `error`.
    """
    body = await json_body(request)
    address, kind = text_in(body, "address"), text_in(body, "kind")
    inbox = Inbox()
    job = session.save(scene_of(address), address, kind, inbox.put)
    return Lines(session, [job], _lines(inbox))


async def _lines(inbox: Inbox) -> AsyncGenerator[bytes, None]:
    while (result := await inbox.get()) is not DONE:
        yield json.dumps(_line(result)).encode() + b"\n"
        if isinstance(result, Exception):
            return


def _line(result: Progress | SavedFile | Exception) -> dict[str, Any]:
    if isinstance(result, Progress):
        return {"done": result.done, "count": result.count}
    if isinstance(result, SavedFile):
        data = base64.b64encode(result.content).decode()
        return {"name": result.name, "type": result.media_type, "note": result.note, "data": data}
    return {"error": message_of(result)}
