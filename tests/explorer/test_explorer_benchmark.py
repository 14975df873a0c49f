"""What the explorer's benchmark reads from answers, processes and pages."""

import base64
import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from benchmarks import explorer, processes


def test_the_labels_of_an_answer_and_the_tile_at_their_boundary():
    planes = np.ones((4, 64, 64), np.uint8)
    planes[0, 40:, 30:] = 6
    data = base64.b64encode(zlib.compress(planes.tobytes())).decode()
    lines = [
        {"tile": "0/0/0", "data": "x", "finished": False},
        {"tile": "0/0/0", "data": data, "finished": True},
    ]
    plane = explorer.labels("\n".join(map(json.dumps, lines)))
    assert plane[39, 40] == 0 and plane[40, 30] == 5
    # The boundaries lie between columns 29 and 30 and between rows 39 and 40, so that both cut through parts of 4 × 4 only.
    assert explorer.boundary_tile(plane, 4) == (7, 10)


def test_a_part_on_a_boundary_has_cells_of_both_classes():
    plane = np.zeros((64, 64), int)
    plane[:, 31:] = 8
    x, y = explorer.boundary_tile(plane, 5)
    assert (x, y) == (15, 15) and set(plane[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()) == {0, 8}
    with pytest.raises(SystemExit, match="no boundary in a tile of class 3"):
        explorer.boundary_tile(np.full((64, 64), 3), 5)


def test_a_page_is_watched_for_messages_errors_and_requests(browser):
    """A console warning, an error, an answer 404, a failed request and one that the page gives up, all to this machine."""
    page, troubles, home = browser.new_page(), explorer.Troubles(), "http://127.0.0.1:8765/"
    troubles.watch(page, home)
    slow = []
    page.route(
        "**/*", lambda route: route.fulfill(status=404 if "missing" in route.request.url else 200, body="")
    )
    page.route("**/refused", lambda route: route.abort("connectionrefused"))
    page.route("**/slow", lambda route: slow.append(route))
    page.goto(home)
    assert [bar.found for bar in troubles.bars()] == [0, 0]
    page.evaluate(
        """async () => {
          console.warn("careful");
          setTimeout(() => { throw new Error("broken"); });
          await fetch("/missing");
          await fetch("/refused").catch(() => {});
          await fetch("http://localhost:8766/elsewhere", { mode: "no-cors" });
          const given = new AbortController();
          const slow = fetch("/slow", { signal: given.signal }).catch(() => {});
          setTimeout(() => given.abort(), 50);
          await slow;
        }"""
    )
    page.close()
    kinds = [trouble.partition(":")[0] for trouble in troubles.inside]
    # Chromium itself writes a line to the console for an answer 404 and for a failed request.
    assert sorted(set(kinds)) == ["console", "error", "failed", "status 404"]
    assert [kinds.count(kind) for kind in ("console", "error", "failed", "status 404")] == [3, 1, 1, 1]
    assert troubles.outside == ["outside request: http://localhost:8766/elsewhere"]
    assert [bar.found for bar in troubles.bars()] == [6, 1] and len(slow) == 1


def test_the_time_and_memory_of_a_process_below_this_one_are_counted():
    work = "data = bytearray(50_000_000); print(sum(range(3_000_000)), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        started.stdout.readline()
        found = next(process for process in processes.descendants() if process.number == started.pid)
        assert found.resident > 50_000_000 and found.seconds > 0
        assert processes.seconds(lambda process: process.number == started.pid) >= found.seconds
        started.communicate(b"\n")
    assert started.pid not in [process.number for process in processes.descendants()]
