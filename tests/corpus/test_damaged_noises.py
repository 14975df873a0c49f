"""Every damage of the JSON file of a folder of noises is named, or the right numbers are read.

Noises in folders have no format in memory, so that each damage is written to a file. All bits take seconds for a tiny set.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import damaged_files as corpus
import numpy as np
import pytest

import denoscope as ds
from denoscope.noise import noise_files

SAMPLED = 150


@pytest.fixture(params=["random", "perturbed", "plane"])
def folder(request, tmp_path):
    """A tiny folder of noises of each kind."""
    shape = (1, 1, 3)
    sets = {
        "random": ds.noise.random(1, shape, seed=3),
        "perturbed": ds.noise.perturbed(1, shape, epsilon=0.5),
        "plane": ds.noise.plane((1, 2), shape, lengths=(1.0, 2.0)),
    }
    sets[request.param].write(tmp_path)
    return tmp_path


def endings(folder, damages) -> Counter[str]:
    """How reading the folder ends, "damaged" or "right"; any other end is an error."""
    (path,) = folder.glob("*.json")
    sound, found = noise_files.read_manifest(path), Counter()
    whole = ds.noise.read(folder)
    files = {path.name: path.read_bytes()}
    for damage in damages:
        path.write_bytes(damage.applied(files)[path.name])
        content, refusal = read(path)
        assert content == sound if content is not None else path.name in refusal and "\n" not in refusal, (
            damage.what
        )
        found["damaged" if content is None else "right"] += 1
    path.write_bytes(files[path.name])
    assert ds.noise.read(folder).parameters == whole.parameters
    return found


def read(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The content of a manifest, or None and the message of its refusal."""
    try:
        return noise_files.read_manifest(path), ""
    except ds.UserError as error:
        return None, str(error)


def test_a_sample_of_the_damages_of_a_manifest_is_named_or_reads_right(folder):
    (path,) = folder.glob("*.json")
    files = {path.name: path.read_bytes()}
    every = [*corpus.flips(files, [path.name]), *corpus.truncations(files, [path.name])]
    chosen = np.random.default_rng(17).choice(len(every), SAMPLED, replace=False)
    assert endings(folder, [every[k] for k in chosen])["damaged"] > 0.9 * SAMPLED


@pytest.mark.slow
def test_every_damage_of_a_manifest_is_named_or_reads_right(folder):
    (path,) = folder.glob("*.json")
    files = {path.name: path.read_bytes()}
    for kind in (corpus.flips, corpus.truncations):
        found = endings(folder, kind(files, [path.name]))
        print(f"{kind.__name__}: {sum(found.values()):,} damages: {dict(found)}")
        assert found["damaged"] > 0.9 * sum(found.values())


@pytest.mark.parametrize("digit", range(3))
def test_a_digit_that_stays_a_number_is_named_by_whatever_reads_the_folder(folder, digit):
    (path,) = folder.glob("*.json")
    text = path.read_text()
    places = [k for k, sign in enumerate(text) if sign.isdigit()]
    place = places[np.random.default_rng(digit).integers(len(places))]
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    with pytest.raises(ds.UserError, match=path.name):
        ds.noise.read(folder)
