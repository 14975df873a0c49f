"""The parts of the explorer's benchmark that need no browser."""

import base64
import json
import subprocess
import sys
import zlib

import numpy as np

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
    assert explorer.boundary_tile(plane, 6) == (29, 40) and explorer.boundary_tile(plane, 4) == (7, 10)


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
