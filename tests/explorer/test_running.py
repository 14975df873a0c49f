"""The process of an explorer: its link, the browser that it opens, and its port."""

import http.cookiejar
import threading
import urllib.request
import webbrowser

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from denoscope.explorer.server import running
from denoscope.explorer.server.safety import Gate

PORT = 20_100


@pytest.fixture
def gates():
    """The applications that were served."""
    return []


@pytest.fixture
def application(gates):
    async def answer(_):
        return PlainTextResponse("the page")

    def application(port):
        gates.append(Gate(Starlette(routes=[Route("/", answer), Route("/api/start", answer)]), port))
        return gates[-1]

    return application


@pytest.fixture
def servers(monkeypatch):
    """The servers that run."""
    servers = []

    class Server(uvicorn.Server):
        def __init__(self, config):
            super().__init__(config)
            servers.append(self)

    monkeypatch.setattr(uvicorn, "Server", Server)
    return servers


@pytest.fixture
def still(monkeypatch):
    """Servers end at once."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)


def test_a_browser_that_waits_for_the_page_gets_it(application, gates, servers, monkeypatch, capsys):
    """Such as one in the terminal, which runs until the user leaves it."""
    opened, closed = [], []

    def open_and_wait(link):
        try:
            jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
            client = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
            for address in (link, f"http://127.0.0.1:{gates[0].port}/api/start"):
                with client.open(address, timeout=60) as response:
                    opened.append(response.read())
        finally:
            servers[0].should_exit = True
        return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda link: opened.append(link) or open_and_wait(link))
    serving = {"port": PORT, "browser": True, "view": "#model=digits&level=3"}
    # In a thread, since Playwright leaves the event loop of this one running.
    server = threading.Thread(
        target=running.serve, args=(application, lambda: closed.append(True)), kwargs=serving
    )
    server.start()
    server.join()
    link, *pages = opened
    assert pages == [b"the page"] * 2 and closed == [True]
    assert gates[0].token not in link, "others see the command line of a browser"
    assert link.endswith("#model=digits&level=3")
    assert capsys.readouterr().out.splitlines()[0] == f"{gates[0].link}#model=digits&level=3"


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("platform", ["linux", "freebsd14"])
def test_without_a_display_no_browser_is_started(application, gates, monkeypatch, capsys, caplog, platform):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BROWSER", "w3m")
    monkeypatch.setattr(running.sys, "platform", platform)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser in the terminal"))
    running.serve(application, lambda: None, port=PORT, browser=True)
    assert capsys.readouterr().out.splitlines()[0] == gates[0].link
    assert caplog.messages == ["no display was found: open the link yourself"]


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "DISPLAY"), ("linux", "WAYLAND_DISPLAY"), ("darwin", ""), ("win32", "")]
)
def test_a_display_without_a_browser_is_told(application, monkeypatch, caplog, platform, name):
    for other in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(other, raising=False)
    if name:
        monkeypatch.setenv(name, "wayland-0")
    threads = []
    start = running.threading.Thread.start
    monkeypatch.setattr(running.threading.Thread, "start", lambda self: threads.append(self) or start(self))
    monkeypatch.setattr(running.sys, "platform", platform)
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    running.open_browser(application(PORT).single_link())
    (thread,) = threads
    thread.join()
    assert caplog.messages == ["no browser was found: open the link yourself"]


@pytest.mark.usefixtures("still")
def test_a_port_in_use_is_told_with_the_one_that_is_taken(application, gates, monkeypatch, capsys, caplog):
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("--no_browser"))
    with running.bound(PORT) as taken:
        port = taken.getsockname()[1]
        running.serve(application, lambda: None, port=port, browser=False)
    assert gates[0].port > port
    assert caplog.messages == [f"port {port} is in use; taking {gates[0].port}"]
    assert f"127.0.0.1:{gates[0].port}/" in capsys.readouterr().out
