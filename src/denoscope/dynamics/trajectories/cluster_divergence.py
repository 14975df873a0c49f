"""The separations of a recording's pairs, which the workers of a cluster measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from distributed import Client

from denoscope.cluster.shared_work import shared_run
from denoscope.cluster.worker import Beat
from denoscope.dynamics.trajectories.divergence_of import Measured, X, names_of, parse_pairs
from denoscope.dynamics.trajectories.recorded_pairs import bases_of, check_array, places_of
from denoscope.dynamics.trajectories.separations import MEASURES, separations
from denoscope.foundation.json_values import as_json
from denoscope.recording import provenance
from denoscope.recording.opening import open, place_for_workers
from denoscope.recording.recording import Recording
from denoscope.storage.places import Place


def measured_by(
    client: Client, recording: Recording, places: Sequence[str], *, allow_different_devices: bool
) -> Measured:
    """The separations in x_t and in several places, by the workers of a client.

    Raises: UserError if the recording is in memory, or a worker reads another one.
    """
    with shared_run(
        client,
        SeparationsRecipe(place_for_workers(recording)),
        _description(recording),
        allow_different_devices=allow_different_devices,
        kept="nothing is saved",
    ) as run:
        wanted = [None, *places]
        found = run.work.results([(f"the separations in {place or X}", place) for place in wanted], 1)
    by_place = {
        place: np.frombuffer(content).reshape(len(MEASURES), pairs, -1)
        for place, (pairs, content) in zip(wanted, found, strict=True)
    }
    return by_place.__getitem__


def _description(recording: Recording) -> dict[str, Any]:
    """What must be the same on all workers: the recording, and the processor, which adds up the squares."""
    return {
        "made": as_json(recording.attrs["fingerprint"]),
        "created": recording.attrs["created"],
        "device": provenance.device_name(torch.device("cpu")),
    }


@dataclass(frozen=True, eq=False)
class SeparationsRecipe:
    """Where a worker finds the recording."""

    path: Place

    def prepare(self) -> RecordingOfWorker:
        """The opened recording.

        Raises: UserError if this worker cannot read it.
        """
        recording = open(self.path)
        return RecordingOfWorker(recording, _description(recording))


@dataclass(frozen=True, eq=False)
class RecordingOfWorker:
    """A recording whose arrays this worker can measure."""

    recording: Recording
    description: Mapping[str, Any]

    def do(self, content: str | None, beat: Beat) -> tuple[int, bytes]:  # noqa: ARG002
        """The number of pairs, and the bytes of their separations [measure, pair, entry] in a place."""
        recording = self.recording
        check_array(recording, content)
        states = recording.sequence if content is None else places_of(recording, None)[content]
        pairs = parse_pairs(bases_of(recording), len(recording.sequence))
        found = separations(states, pairs, content or X, names_of(recording.sequence))
        return len(pairs), found.tobytes()
