"""A command that records ten samples, and what it makes if nothing interrupts it."""

from pathlib import Path

import pytest
from outputs import OUTPUTS
from ten_samples import COUNT, LANES, LATE, LAYERS, STEPS

import denoscope as ds


@pytest.fixture(scope="session")
def small_model(saved, make_small_unet) -> str:
    """A folder with a model of [1, 8, 8] that loads and runs in half the time of `model`."""
    return saved(make_small_unet(channels=1), "small")


@pytest.fixture(scope="session")
def arguments(small_model, tmp_path_factory) -> list[object]:
    """The words of the command, except the output."""
    inputs = tmp_path_factory.mktemp("inputs")
    ds.noise.random(COUNT, (1, 8, 8), seed=3).write(inputs)
    line = f"record --model {small_model} --inputs {inputs} --device cpu --lanes {LANES} --batch_size {LANES}"
    return [*line.split(), "--num_steps", STEPS, "--layers", *LAYERS]


@pytest.fixture(scope="session")
def counted(arguments, recorder, tmp_path_factory) -> dict[str, tuple[Path, int]]:
    """The path of each uninterrupted recording, and the number of its file events."""
    folder, found = tmp_path_factory.mktemp("unbroken"), {}
    for out in OUTPUTS:
        done = recorder.run(*arguments, "--output", folder / out, dies_at=LATE)
        assert done.code == 0, done.output
        found[out] = folder / out, done.file_events
    return found


@pytest.fixture(scope="session")
def unbroken(counted) -> Path:
    """The folder of the uninterrupted recordings."""
    return counted[OUTPUTS[0]][0].parent
