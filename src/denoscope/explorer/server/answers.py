"""Results of jobs as answers of HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from denoscope.explorer.job_queue import DONE, Job, JobQueue, Report
from denoscope.explorer.tile_address import MOST_TILES, TileAddress
from denoscope.explorer.tile_picture import TilePicture
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.reading import json_files

LOGGER = logging.getLogger(__name__)
GONE = 499
"""The status of an answer that nobody waits for."""


class HasJobs(Protocol):
    """Whatever queues the work behind an answer."""

    @property
    def jobs(self) -> JobQueue: ...


def error_answer(error: Exception) -> JSONResponse:
    """What a page shows in place of the result that failed."""
    status = 400 if isinstance(error, (UserError, ValueError)) else 500
    return JSONResponse({"error": message_of(error)}, status)


def message_of(error: Exception) -> str:
    """One line that describes an error."""
    if isinstance(error, UserError):
        return str(error)
    LOGGER.warning("%s: %s", type(error).__name__, first_line(error))
    return f"{type(error).__name__}: {first_line(error)}"


class Inbox:
    """Results that arrive from the thread of the jobs."""

    def __init__(self) -> None:
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def put(self, item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def get(self) -> Any:
        return await self._queue.get()


def names_in(text: str) -> list[str]:
    """Names that are separated by commas."""
    return [name for name in text.split(",") if name]


async def one_answer(session: HasJobs, request: Request, submit: Callable[[Report], Job]) -> Response:
    """The result of a job that yields one, as JSON; the job is cancelled if the page goes away."""
    inbox = Inbox()
    job = submit(inbox.put)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        while True:
            arrives = asyncio.ensure_future(inbox.get())
            await asyncio.wait({arrives, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not arrives.done():
                arrives.cancel()
                return Response(status_code=GONE)
            result = arrives.result()
            if isinstance(result, Exception):
                return error_answer(result)
            if result is not None:
                return JSONResponse(result)
    finally:
        gone.cancel()
        session.jobs.cancel([job])


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def tile_lines(
    session: HasJobs, addresses: Sequence[TileAddress], submit: Callable[[Report], Sequence[Job]]
) -> Lines:
    """A line of JSON for each stage of each tile: `tile`, and `data` with `finished`, or `error`.

    Args:
        submit: queues jobs whose results are addresses with pictures, exceptions, or None.

    Raises: UserError if the jobs cannot be queued.
    """
    inbox = Inbox()
    jobs = submit(inbox.put)
    return Lines(session, jobs, _tile_lines(inbox, addresses, len(jobs)))


async def _tile_lines(
    inbox: Inbox, addresses: Sequence[TileAddress], open_jobs: int
) -> AsyncGenerator[bytes, None]:
    failed: set[TileAddress] = set()
    while open_jobs:
        result = await inbox.get()
        if isinstance(result, tuple):
            news = [result]
        else:
            open_jobs -= 1
            news = [(address, result) for address in addresses if result is not DONE]
        for address, found in news:
            if found is None or address in failed:
                continue
            line: dict[str, Any] = {"tile": str(address)}
            if isinstance(found, TilePicture):
                line |= {"data": base64.b64encode(found.packed()).decode(), "finished": found.finished}
            else:
                failed.add(address)
                line["error"] = message_of(found)
            yield json.dumps(line).encode() + b"\n"


def tiles_in(body: Mapping[str, Any]) -> list[TileAddress]:
    """The tiles that the content of a request asks for, each once.

    Raises: UserError if they are malformed, or too many.
    """
    tiles = body.get("tiles")
    if not isinstance(tiles, list) or not all(isinstance(text, str) for text in tiles):
        raise UserError("tiles is not a list of strings; allowed: addresses, such as 3/2/5")
    if len(tiles) > MOST_TILES:
        raise UserError(f"tiles are {len(tiles)}; allowed: {MOST_TILES}")
    return [TileAddress.parse(text) for text in dict.fromkeys(tiles)]


class Lines(StreamingResponse):
    """An answer of lines, each JSON, as jobs make them; the jobs are cancelled when the page goes away."""

    def __init__(self, session: HasJobs, jobs: Sequence[Job], lines: AsyncGenerator[bytes, None]):
        super().__init__(lines, media_type="application/x-ndjson")
        self._session, self._jobs, self._lines = session, jobs, lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_turn(message: Message) -> None:
            await send(message)
            # Where many lines are ready, the server would not notice between them that the page has gone.
            await asyncio.sleep(0)

        try:
            await super().__call__(scope, receive, send_in_turn)
        finally:
            self._session.jobs.cancel(self._jobs)
            await self._lines.aclose()


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object that a request holds.

    Raises: UserError if it holds something else.
    """
    try:
        body = await request.body()
    except ClientDisconnect:
        raise UserError("the request was cut off") from None
    return json_files.parse(body, dict[str, Any], "the request")


def text_in(body: Mapping[str, Any], name: str) -> str:
    """A text of a request, empty if it is missing.

    Raises: UserError if it is something else.
    """
    value = body.get(name, "")
    if not isinstance(value, str):
        raise UserError(f"{name} is not a string")
    return value
