"""Ctrl-C during a recording: it ends after the current samples and can be resumed."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch
import xarray
from outputs import SAMPLED_OUTPUTS
from ten_samples import FIRST_CALL, STEPS

import denoscope as ds

SECOND_FLIGHT, LAST_FLIGHT = FIRST_CALL + STEPS + 1, FIRST_CALL + 2 * STEPS + 1
"""Calls in the middle of a flight."""


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_the_first_ctrl_c_ends_after_the_samples_in_flight_and_names_the_flag_to_resume(
    arguments, unbroken, recorder, contents, tmp_path, out
):
    running = recorder.start(*arguments, "--output", tmp_path / out, holds_at=[SECOND_FLIGHT])
    running.until(f"call {SECOND_FLIGHT}\n")
    running.send(signal.SIGINT)
    running.until("stopping after the current samples")
    running.release()
    assert running.wait() == 130
    (last,) = [line for line in running.output.splitlines() if "--resume" in line]
    assert f"8 of 10 samples finished in {tmp_path / out};" in last
    assert "Traceback" not in running.output
    of_both = [ds.open(folder / out) for folder in (tmp_path, unbroken)]
    assert of_both[0].dataset["complete"].values.tolist() == [True] * 8 + [False] * 2
    for name in ("sequence", "conv_in"):
        found, whole = (rec.dataset[name].values for rec in of_both)
        assert np.array_equal(found[:8], whole[:8]) and np.isnan(found[8:]).all()
    assert not list(tmp_path.rglob("*.partial"))
    assert recorder.run(*arguments, "--output", tmp_path / out, "--resume").code == 0
    assert contents(tmp_path / out) == contents(unbroken / out)


def test_the_second_ctrl_c_stops_at_once_and_loses_only_the_samples_in_flight(
    arguments, unbroken, recorder, contents, tmp_path
):
    out = tmp_path / "run.zarr"
    running = recorder.start(*arguments, "--output", out, holds_at=[SECOND_FLIGHT])
    running.until(f"call {SECOND_FLIGHT}\n")
    running.send(signal.SIGINT)
    running.until("stopping after the current samples")
    running.send(signal.SIGINT)
    assert running.wait() == 130
    assert "resume" in running.output and "Traceback" not in running.output
    assert xarray.open_zarr(out)["complete"].values.sum() == 4
    assert not list(tmp_path.rglob("*.partial"))
    assert recorder.run(*arguments, "--output", out, "--resume").code == 0
    assert contents(out) == contents(unbroken / "run.zarr")


def test_two_ctrl_cs_in_the_first_step_of_a_replacement_leave_the_former_recording(
    arguments, unbroken, recorder, contents, tmp_path
):
    out = tmp_path / "run.zarr"
    shutil.copytree(unbroken / "run.zarr", out)
    before = contents(out)
    changed = [*arguments, "--output", out, "--overwrite"]
    changed[changed.index("--num_steps") + 1] = STEPS + 1
    running = recorder.start(*changed, holds_at=[FIRST_CALL])
    running.until(f"call {FIRST_CALL}\n")
    running.send(signal.SIGINT)
    running.until("stopping after the current samples")
    running.send(signal.SIGINT)
    assert running.wait() == 130
    assert "Traceback" not in running.output
    assert contents(out) == before
    ds.open(out).check()


def test_a_ctrl_c_in_the_last_flight_lets_the_recording_finish(
    arguments, unbroken, recorder, contents, tmp_path
):
    out = tmp_path / "run.zarr"
    running = recorder.start(*arguments, "--output", out, holds_at=[LAST_FLIGHT])
    running.until(f"call {LAST_FLIGHT}\n")
    running.send(signal.SIGINT)
    running.until("stopping after the current samples")
    running.release()
    assert running.wait() == 0
    assert contents(out) == contents(unbroken / "run.zarr")


def test_a_recording_in_python_raises_keyboard_interrupt_after_the_flight(tiny, tmp_path):
    x = ds.noise.random(6, tiny.shape)
    tiny.layers()
    pressed = []
    # The first call is the probe of the fingerprint, the second the first of a flight.
    handle = tiny.network.register_forward_pre_hook(lambda *_: press() if len(pressed) == 1 else None)
    handle2 = tiny.network.register_forward_hook(lambda *_: pressed.append(1))
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped with 4 of 6 samples"):
            ds.record(tiny, x, tmp_path / "run.zarr", steps=2, lanes=4, batch_size=4)
    finally:
        handle.remove()
        handle2.remove()
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=2, lanes=4, resume=True)
    x_0 = ds.sample(tiny, x.batch(range(6)), steps=2, lanes=4)
    assert torch.equal(torch.from_numpy(rec.final.to_numpy()), x_0)
