"""The server: who is answered, what is refused, and what fuzzed requests get."""

import asyncio
import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch.nn.modules.module import register_module_forward_pre_hook

import denoscope as ds
from denoscope.basins.labelling import Labelling
from denoscope.config import SystemConfig
from denoscope.explorer.models import Models
from denoscope.explorer.page_file import PAGE
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.answers import Lines
from denoscope.explorer.server.application import application
from denoscope.explorer.server.running import bound
from denoscope.explorer.server.safety import LONGEST_BODY
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import MOST_TILES
from denoscope.foundation.errors import UserError

BASE = "http://127.0.0.1:8765"
POINT = "/api/point?model=digits&steps=2&cell=2/70/100"


@pytest.fixture(scope="module")
def gate(digits_session):
    return application(digits_session, 8765)


@pytest.fixture
def client(gate):
    """A browser that has opened the link."""
    with TestClient(gate, base_url=BASE) as opened:
        assert opened.get(gate.link).url == f"{BASE}/"
        yield opened


def lines_of(response):
    return [json.loads(line) for line in response.text.splitlines()]


def view(client, tiles, **scene):
    return client.post(
        "/api/view", json={"scene": {"model": "digits", "steps": "2", **scene}, "tiles": tiles}
    )


def test_the_link_leads_to_the_page_and_hides_its_token(gate):
    with TestClient(gate, base_url=BASE) as client:
        response = client.get(gate.link, follow_redirects=False)
        assert response.status_code == 303 and response.headers["location"] == "/"
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert "<title>denoscope" in client.get("/").text


def test_a_single_link_opens_the_page_once(digits_session):
    gate = application(digits_session, 8765)
    link = gate.single_link()
    assert gate.token not in link and link not in (gate.link, gate.single_link())
    with TestClient(gate, base_url=BASE) as client, TestClient(gate, base_url=BASE) as other:
        assert client.get(link).url == f"{BASE}/" and client.get("/api/start").status_code == 200
        response = other.get(link)
        assert response.status_code == 401 and "opened before" in response.json()["error"]
        assert other.get("/api/start").status_code == 401
        assert other.get(gate.link).url == f"{BASE}/" and other.get("/api/start").status_code == 200


@pytest.mark.parametrize("path", ["/api/start", "/api/scene?model=digits", POINT])
def test_without_the_token_nothing_is_computed(gate, path):
    with TestClient(gate, base_url=BASE) as client:
        response = client.get(path)
        assert response.status_code == 401 and "link" in response.json()["error"]
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/").status_code == 200, "the page itself holds no secret and says what to do"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:8765"}, 403),
        ({"host": "127.0.0.1:8766"}, 403),
        ({"host": "127.0.0.1"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-length": str(LONGEST_BODY + 1)}, 413),
        ({"content-length": "-5"}, 413),
        ({"origin": BASE, "sec-fetch-site": "same-origin"}, 200),
        ({"host": "localhost:8765", "cookie": ""}, 401),
    ],
)
def test_requests_of_other_hosts_and_sites_are_refused(client, headers, status):
    assert client.get("/api/start", headers=headers).status_code == status


def test_a_long_address_and_a_long_body_are_refused(client):
    assert client.get(f"/api/start?{'x' * 9000}").status_code == 414
    assert client.post("/api/view", content=b"x" * (LONGEST_BODY + 1)).status_code == 413


def test_every_answer_has_the_policy(client):
    for path in ("/", "/app.js", "/api/start", "/api/none", "/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_inline_code_and_brings_the_licence_of_what_it_uses():
    html = (PAGE / "index.html").read_text()
    assert "<script>" not in html and "style=" not in html and "onclick" not in html and "http" not in html
    assert "Copyright" in (PAGE / "vendor" / "leaflet" / "LICENSE").read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/../server/safety.py",
        "/%2e%2e/scene.py",
        "/..%2fscene.py",
        "/vendor/../../scene.py",
        "//etc/passwd",
        "/%00",
    ],
)
def test_no_file_outside_of_the_page_is_served(client, path):
    response = client.get(path)
    assert response.status_code in (400, 404) and "denoscope" not in response.text.replace(
        "denoscope explorer", ""
    )


def test_a_scene_is_described(client):
    facts = client.get("/api/scene?model=digits&steps=2").json()
    assert facts["scene"] == {"model": "digits", "steps": "2"} and facts["shape"] == [1, 8, 8]
    assert "mid_block" in facts["layers"] and float(facts["length"]) > 1 and len(facts["colors"]) == 10


def test_tiles_arrive_coarse_first_and_agree_with_a_point(client):
    tiles = ["2/1/1", "2/2/1"]
    lines = lines_of(view(client, tiles, base_seed="7"))
    firsts = [line["tile"] for line in lines[:2]]
    assert firsts == tiles and not any(line["finished"] for line in lines[:2])
    assert {line["tile"] for line in lines if line["finished"]} == set(tiles)
    assert client.get(POINT).json()["cell"] == "2/70/100"


def test_a_tile_below_the_precision_fails_alone_with_its_reason(client):
    lines = lines_of(view(client, ["60/5/5", "0/0/0"], dtype="float32"))
    errors = [line for line in lines if "error" in line]
    assert [line["tile"] for line in errors] == ["60/5/5"] and "resolution of float32" in errors[0]["error"]
    assert any(line["tile"] == "0/0/0" and line["finished"] for line in lines if "finished" in line)


def test_a_page_that_goes_is_noticed_between_lines_that_are_ready():
    """What the event loop has to do, such as closing a connection, waits for one line at most."""
    sent: list[bool] = []
    gone = asyncio.Event()

    async def lines():
        for _ in range(50):
            yield b"{}\n"

    async def send(_message):
        if not sent:
            asyncio.get_running_loop().call_soon(gone.set)
        sent.append(gone.is_set())

    async def receive():
        await asyncio.Event().wait()

    session = SimpleNamespace(jobs=SimpleNamespace(cancel=lambda _jobs: None))
    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    with ThreadPoolExecutor(1) as thread:  # Playwright's event loop can run in this one
        thread.submit(lambda: asyncio.run(Lines(session, [], lines())(scope, receive, send))).result()
    assert len(sent) == 52 and sent.index(True) <= 2


def test_a_model_that_fails_on_a_tile_is_reported_and_the_next_request_works(client, monkeypatch):
    from denoscope.explorer.atlas import Atlas

    def fails(_atlas, _address):
        raise RuntimeError("on purpose")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Atlas, "coarse", fails)
        lines = lines_of(view(client, ["3/1/1"]))
    assert [line["error"] for line in lines if "error" in line] == ["RuntimeError: on purpose"]
    assert lines_of(view(client, ["3/1/1"]))[-1]["finished"]


def test_two_points_are_compared_and_one_is_recorded(client, digits_session):
    scene = {"model": "digits", "steps": "2"}
    query = {**scene, "a": "2/70/100", "b": "3/300/90", "layers": "mid_block"}
    answer = client.get("/api/pair", params=query).json()
    labels, paths = [], []
    for cell in ("2/70/100", "3/300/90"):
        labels.append(client.get("/api/point", params={**scene, "cell": cell}).json()["label"])
        body = {"scene": scene, "cell": cell, "layers": "mid_block"}
        recorded = client.post("/api/record", json=body).json()
        assert recorded["label"] == labels[-1]
        paths.append(recorded["path"])
    assert [answer["path"][0], answer["path"][-1]] == labels and len(answer["path"]) == 64
    a, b = (ds.open(path) for path in paths)
    sequences = [rec.sequence.values[0].astype(float) for rec in (a, b)]
    apart = [np.linalg.norm(x - y) for x, y in zip(*sequences, strict=True)]
    np.testing.assert_allclose(answer["separation"], apart, rtol=1e-5)
    states = [rec["mid_block"].values[0].astype(float) for rec in (a, b)]
    apart = [np.linalg.norm(x - y) for x, y in zip(*states, strict=True)]
    np.testing.assert_allclose(answer["layers"]["mid_block"], apart, rtol=1e-5)
    assert {Path(path).parent for path in paths} == {digits_session.recordings}
    again = client.post("/api/record", json={"scene": scene, "cell": "2/70/100", "layers": ""}).json()
    assert again["path"] not in paths


def test_a_pair_across_precisions_names_the_labels_of_both_panels(client, digits_session, monkeypatch):
    """As near a boundary, both precisions disagree: here everywhere."""
    classify = Labelling.classify

    def disagreeing(labelling, images):
        answers = classify(labelling, images)
        shift = int(labelling.denoiser.dtype == torch.float32)
        return {**answers, "label": (answers["label"] + shift) % 10}

    monkeypatch.setattr(Labelling, "classify", disagreeing)
    scene = {"model": "digits", "steps": "2"}
    deep = f"{digits_session._atlas(Scene('digits', steps=2)).float32_to + 2}/5/5"
    for a, b in (("2/70/100", deep), (deep, "2/70/100"), ("2/70/100", "3/5/5")):
        answer = client.get("/api/pair", params={**scene, "a": a, "b": b}).json()
        points = [client.get("/api/point", params={**scene, "cell": cell}).json() for cell in (a, b)]
        assert [answer["path"][0], answer["path"][-1]] == [point["label"] for point in points]
        assert answer["precision"] == ("float64" if deep in (a, b) else "float32")


@pytest.mark.parametrize("cell", ["../../etc", "2/70", "2/70/100/../..", "99/0/0"])
def test_a_recording_has_no_place_outside_of_its_folder(client, digits_session, cell):
    before = sorted(digits_session.recordings.parent.rglob("*.zarr"))
    body = {"scene": {"model": "digits", "steps": "2"}, "cell": cell, "layers": ""}
    assert client.post("/api/record", json=body).status_code == 400
    assert sorted(digits_session.recordings.parent.rglob("*.zarr")) == before


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "JSON"),
        pytest.param(b"[" * 20_000, "nested too deeply", id="deep"),
        (b"[]", "object"),
        (b'{"tiles": []}', "scene"),
        (b'{"scene": {"model": 3}, "tiles": []}', "scene"),
        (b'{"scene": {"model": "digits"}, "tiles": "0/0/0"}', "tiles"),
        (b'{"scene": {"model": "digits"}, "tiles": ["0/0/1"]}', "tile 0/0/1"),
        (b'{"scene": {"model": "/etc"}, "tiles": []}', None),
    ],
)
def test_a_malformed_view_is_refused_in_words(client, body, part):
    response = client.post("/api/view", content=body)
    assert response.status_code == (200 if part is None else 400)
    assert part is None or part in response.json()["error"]


def test_a_view_of_too_many_tiles_is_refused(client):
    response = view(client, [f"8/{k}/0" for k in range(MOST_TILES + 1)])
    assert response.status_code == 400 and str(MOST_TILES) in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"kind": "page"}, "model"),
        ({"kind": "tar", "address": "#model=digits"}, "allowed: page, film"),
        ({"kind": 3, "address": "#model=digits"}, "kind"),
        ({"kind": "page", "address": ["#model=digits"]}, "address"),
        ({"kind": "film", "address": "#model=digits&steps=0"}, "steps"),
    ],
)
def test_a_file_of_another_kind_or_view_is_refused(client, body, part):
    response = client.post("/api/export", json=body)
    assert response.status_code == 400 and part in response.json()["error"]


def test_a_file_of_a_place_outside_of_the_plane_fails_with_its_reason(client):
    body = {"kind": "film", "address": "#model=digits&steps=2&at=99,0"}
    (line,) = lines_of(client.post("/api/export", json=body))
    assert "99,0" in line["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/view", {"scene": {"model": "digits"}, "tiles": ["0/0/0"]}),
        ("/api/export", {"kind": "page", "address": "#model=digits"}),
        ("/api/record", {"scene": {"model": "digits"}, "cell": "2/70/100"}),
    ],
)
def test_a_full_queue_refuses_a_request_in_words(client, digits_session, monkeypatch, path, body):
    monkeypatch.setattr(digits_session.jobs, "_most", 0)
    response = client.post(path, json=body)
    assert response.status_code == 400 and "allowed: 0" in response.json()["error"]


@pytest.mark.parametrize("model", ["/etc", "../digits", "owner/name", "C:\\x", "digits\x00"])
def test_a_view_cannot_make_the_server_read_a_folder_or_the_hub(client, model):
    response = client.get("/api/scene", params={"model": model})
    assert response.status_code == 400 and "denoscope explore" in response.json()["error"]


TEXTS = [
    "", "0", "-1", "1e9", "9" * 25, "nan", "../..", "%00", "2/70/100", "0/0/0", "é", "a,b", "<script>", "digits", "'", "1,2,3",
    "A" * 86, "A" * 5000, "0.5", "#model=digits&steps=0", "#model=x", "page", "film",
]  # fmt: skip
NAMES = [
    "model", "steps", "cell", "a", "b", "layers", "geometry", "length", "lanes", "token", "x", "image", "image_level", "through", "labels", "guidance_scale",
]  # fmt: skip
PATHS = [
    "/api/start", "/api/scene", "/api/point", "/api/pair", "/api/record", "/api/export", "/api/view", "/api/", "/x", "/vendor/",
    "/app.js/..", "//", "/.",
]  # fmt: skip


def fuzzed_body(draw):
    """The body of a random request: bytes, or JSON that is nearly right."""
    if draw.random() < 0.3:
        return draw.choice([b"", b"{}", b"\xff" * 50, b"[" * 5000, b'{"scene": ' * 2000])
    values = [*TEXTS, None, 0, 1e300, True, [], {}, ["0/0/0"], {"model": "digits", "steps": "x"}]
    names = ["scene", "tiles", "kind", "address", "cell", "layers", "x"]
    return json.dumps({draw.choice(names): draw.choice(values) for _ in range(draw.randrange(6))}).encode()


def fuzzed(draw):
    """A random request: a method, an address that is nearly right, and a body."""
    query = "&".join(f"{draw.choice(NAMES)}={draw.choice(TEXTS)}" for _ in range(draw.randrange(5)))
    method = draw.choice(["GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
    return method, f"{draw.choice(PATHS)}?{query}", fuzzed_body(draw) if method == "POST" else None


@pytest.fixture
def network_calls():
    """The classes of all networks that are called, in any thread."""
    called = []
    hook = register_module_forward_pre_hook(lambda module, _: called.append(type(module).__name__))
    yield called
    hook.remove()


def try_fuzzed(client, network_calls, count, seed):
    """What is refused costs no call of a network, so that it takes no longer than its address and body are long."""
    draw = random.Random(seed)
    for _ in range(count):
        method, target, content = fuzzed(draw)
        network_calls.clear()
        response = client.request(method, target, content=content)
        assert response.status_code < 400 or not network_calls, (method, target, content)
        # Whatever is answered with 200 is a file of the page, or a request that happens to be right.
        right = (
            target.startswith(("/api/start?", "/x"))
            or "model=digits" in target
            or not target.startswith("/api/")
        )
        fits = right and response.status_code in (200, 307)
        assert response.status_code in range(400, 500) or fits, (method, target, content)


def test_fuzzed_requests_get_an_answer(client, network_calls):
    try_fuzzed(client, network_calls, 300, seed=0)
    assert client.get(POINT).status_code == 200 and "UNet2DModel" in network_calls


@pytest.mark.slow
def test_ten_thousand_fuzzed_requests_get_an_answer(client, network_calls):
    try_fuzzed(client, network_calls, 10_000, seed=1)


def test_a_port_in_use_makes_the_next_one_be_taken_on_this_machine_only():
    with bound(20_000) as first, bound(first.getsockname()[1]) as second:
        host, port = second.getsockname()
        assert host == "127.0.0.1" and port > first.getsockname()[1]


def test_without_a_free_port_the_flag_is_named():
    with pytest.raises(UserError, match="port is 65535"), socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        bound(65535)


def test_a_session_is_bounded_and_its_thread_ends():
    session = Session(Models("digits", device="cpu"), Scene("digits"), SystemConfig.class_colors)
    session.close()
    assert not session.jobs._thread.is_alive()
