"""Which requests are answered: those of this server's own pages, opened by whoever has its link."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_BODY = 2**18
"""Bytes of a request."""
LONGEST_TARGET = 8192
"""Characters of a path and query."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Of every answer. The policy lets a page run and load only what this server sends, and nobody frame it."""


@dataclass(eq=False)
class Gate:
    """Middleware that refuses requests for other hosts, from other sites, without the token, or of absurd size.

    The token comes with the link that the command prints, and then with a cookie. Only `/api/` needs it: the page
    itself is the same for everyone.
    """

    app: ASGIApp
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    _tickets: set[str] = field(default_factory=set, repr=False)
    """Tokens of links that open the page once."""

    @property
    def link(self) -> str:
        """The address that opens the page."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def single_link(self) -> str:
        """A link that opens the page once: for a browser, whose command line other users of the machine see."""
        ticket = secrets.token_urlsafe(18)
        self._tickets.add(ticket)
        return f"http://127.0.0.1:{self.port}/?token={ticket}"

    @property
    def cookie(self) -> str:
        """The name of the cookie. Cookies are shared by all ports of a host."""
        return f"denoscope_{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
        elif (given := _token_in(scope)) is not None:
            await self._enter(given)(scope, receive, _with_headers(send))
        else:
            await self.app(scope, _bounded(receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = _headers(scope)
        hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        path = scope["path"]
        if len(path) + len(scope.get("query_string", b"")) > LONGEST_TARGET:
            return _error(414, f"the address is longer than {LONGEST_TARGET} characters")
        if headers.get("host") not in hosts:
            return _error(403, "this server answers only as 127.0.0.1 or localhost")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return _error(403, "this server answers only its own pages")
        if path.startswith("/api/"):
            if site not in ("same-origin", "none"):
                return _error(403, "this server answers only its own pages")
            if not secrets.compare_digest(self._cookie_in(headers).encode(), self.token.encode()):
                return _error(
                    401,
                    "open the link that denoscope explore printed, which holds the token of this server; then this address works too",
                )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 12) or int(length) > LONGEST_BODY:
            return _error(413, f"a request holds at most {LONGEST_BODY} bytes")
        return None

    def _cookie_in(self, headers: dict[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    def _enter(self, given: str) -> JSONResponse | RedirectResponse:
        """Exchange the token of a link for a cookie, and take it out of the address, which is sent to others."""
        if given in self._tickets:
            self._tickets.remove(given)
        elif not secrets.compare_digest(given.encode(), self.token.encode()):
            return _error(
                401,
                "this link is of another run, or was opened before; open the one that denoscope explore printed",
            )
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        return response


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _token_in(scope: Scope) -> str | None:
    query = scope.get("query_string", b"").decode("latin-1")
    return query.removeprefix("token=") if scope["path"] == "/" and query.startswith("token=") else None


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _with_headers(send: Send) -> Send:
    extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: Iterable[tuple[bytes, bytes]] = message.get("headers", [])
            message = {**message, "headers": [pair for pair in given if pair[0] != b"cache-control"] + extra}
        await send(message)

    return sent


def _bounded(receive: Receive) -> Receive:
    """End a request that sends more than it may, whatever length it states."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= LONGEST_BODY else {"type": "http.disconnect"}

    return bounded
