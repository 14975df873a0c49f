"""The runs that patching makes: those of recording A, with states of recording B."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.foundation.checkpoint import IDENTITY
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming
from denoscope.foundation.validation import parse_integer
from denoscope.hooks.queries import as_queries
from denoscope.hooks.taps import tapped
from denoscope.interventions.spec import Intervention
from denoscope.models.classifier.bundled_classifiers import SHAPES
from denoscope.models.classifier.classification import classify_finite
from denoscope.models.denoiser import Denoiser
from denoscope.models.schedulers import keeps_no_history
from denoscope.recording import provenance
from denoscope.recording.arguments import as_tuple
from denoscope.recording.completeness import check_finished
from denoscope.recording.patching import patch_map
from denoscope.recording.recording import Recording
from denoscope.recording.replay import condition_of, interventions_of, loop_of
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray

Cell = tuple[int, int]
"""A layer and a sample, by their positions in the map."""
Batch = tuple[int, list[Cell]]
"""A step, by its position in the map, and cells of it that are computed together."""
Moved = tuple[np.ndarray, np.ndarray | None]
"""How far each cell of a batch moved, and the digit that its x_0 shows; None if images are not digits."""


@dataclass(frozen=True, eq=False)
class PatchWork:
    """All that is computed: runs of A with states of B."""

    denoiser: Denoiser
    a: Recording
    b: Recording
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    sources: Mapping[str, str]
    """The sample of B for each of A."""
    loop: Loop
    interventions: Sequence[Intervention]
    """A's own interventions."""

    @classmethod
    def planned(
        cls,
        denoiser: Denoiser,
        a: Recording,
        b: Recording,
        layers: str | Sequence[str] | None,
        steps: int | Sequence[int] | None,
    ) -> PatchWork:
        if a.attrs["fingerprint"]["weights_sha256"] != denoiser.weights_hash:
            raise UserError(f"{a.path} was recorded from another model: its weights are not the same")
        names = [str(name) for name in a.dataset["sample"].to_numpy()]
        queries = () if layers is None else as_queries(layers)
        with naming("layers"):
            chosen = denoiser.chosen_layers(
                queries or list(b.states), condition_of(a, names, denoiser).inputs
            )
        count = a.sequence.sizes["state"] - 1
        chosen_steps = range(count) if steps is None else as_tuple(steps)
        wanted = tuple(parse_integer(step, "steps", maximum=count - 1) for step in chosen_steps)
        loop = loop_of(a)
        addresses = tuple(layer.address for layer in chosen)
        work = cls(denoiser, a, b, addresses, wanted, _sources(a, b), loop, interventions_of(a))
        loop.applied(denoiser, work._swaps(wanted, {}), condition_of(a, names, denoiser)).check(names)
        return work

    @property
    def names(self) -> list[str]:
        return list(self.sources)

    def batches(self, done: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """The unfinished cells (layer, sample) of each step, in batches of those that are in flight at once.

        Samples that are distinguished by their names share a batch only with those of the same layer.
        """
        cells_per_batch = self.loop.rows_of_whole_calls(batch_size)
        together = self.loop.noise == "common" and not self.interventions
        for place in range(len(self.steps)):
            pending = [(int(layer), int(sample)) for layer, sample in np.argwhere(~done[:, place])]
            groups = (
                [pending]
                if together
                else [[c for c in pending if c[0] == k] for k in range(len(self.layers))]
            )
            for cells in groups:
                for first in range(0, len(cells), cells_per_batch):
                    yield place, cells[first : first + cells_per_batch]

    def compute(self, place: int, cells: Sequence[Cell]) -> Moved:
        """How far each cell moved, and the digit that its x_0 shows."""
        x_0 = self._run(self.steps[place], cells)
        samples = [sample for _, sample in cells]
        to_b, between = _norms(x_0 - self._final_b[samples]), _norms(self._final_a - self._final_b)[samples]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = np.where(between > 0, 1 - to_b / between, np.nan)
        return moved, _digits(x_0)

    def _run(self, step: int, cells: Sequence[Cell]) -> np.ndarray:
        """x_0 of A's run in which each cell's layer has B's state in `step`."""
        named = {f"{self.names[sample]} at {self.layers[layer]}": (layer, sample) for layer, sample in cells}
        alone = len({layer for layer, _ in cells}) == 1
        names = [self.names[sample] for _, sample in cells] if alone else list(named)
        begin = step if keeps_no_history(self.denoiser.scheduler) else 0
        samples = [sample for _, sample in cells]
        x = torch.from_numpy(self.a.sequence.isel(state=begin, sample=samples).to_numpy())
        condition = condition_of(self.a, [self.names[sample] for sample in samples], self.denoiser)
        swaps = self._swaps((step,), {} if alone else named, {layer for layer, _ in cells})
        applied = self.loop.applied(self.denoiser, swaps, condition)
        denoiser, x_0 = self.denoiser, x
        with tapped(denoiser.network, denoiser.call) as network:
            for denoised in steps_of(denoiser, network, x, self.loop, names, condition, applied, begin):
                x_0 = denoised.x_after
        return x_0.double().cpu().numpy()

    def _swaps(
        self, steps: Sequence[int], named: Mapping[str, Cell], layers: set[int] | None = None
    ) -> list[Intervention]:
        """A's own interventions, then a swap with B's states for each layer, in the rows that `named` assigns to it."""
        swaps = [
            Intervention(
                self.layers[layer],
                "swap",
                self.b.path,
                steps=list(steps),
                samples=[name for name, cell in named.items() if cell[0] == layer],
                source=dict(self.sources)
                | {name: self.sources[self.names[sample]] for name, (_, sample) in named.items()},
            )
            for layer in sorted(layers if layers is not None else range(len(self.layers)))
        ]
        return [*self.interventions, *swaps]

    @cached_property
    def _final_a(self) -> np.ndarray:
        return _in_double(self.a.final)

    @cached_property
    def _final_b(self) -> np.ndarray:
        """B's x_0 in the order of A's samples."""
        return _in_double(self.b.final.sel(sample=list(self.sources.values())))

    def empty(self, elsewhere: Mapping[str, Any]) -> xarray.Dataset:
        """The map in which nothing is finished.

        Args:
            elsewhere: entries of the identity that are those of the workers' devices.
        """
        timesteps = self.b.dataset["timestep"].sel(step=list(self.steps)).to_numpy()
        digits = {"label_a": _digits(self._final_a), "label_b": _digits(self._final_b)}
        return patch_map.empty(
            {
                "layer": ("layer", list(self.layers)),
                "step": ("step", list(self.steps)),
                "timestep": ("step", timesteps),
                "sample": ("sample", self.names),
                "source": ("sample", list(self.sources.values())),
            },
            {name: labels for name, labels in digits.items() if labels is not None},
            {
                "recording_a": str(self.a.path),
                "recording_b": str(self.b.path),
                "model": self.denoiser.name,
                "fingerprint": self.a.attrs["fingerprint"],
                IDENTITY: {**self.identity(), **elsewhere},
            },
        )

    def identity(self) -> dict[str, Any]:
        """Everything that determines the cells."""
        of_a, of_b = (
            {"made": rec.attrs["fingerprint"], "inputs": rec.attrs["inputs_sha256"]}
            for rec in (self.a, self.b)
        )
        return {
            "recording A": of_a,
            "recording B": of_b,
            "device": provenance.device_name(self.denoiser.device),
            "number of threads": torch.get_num_threads(),
            "layers": self.layers,
            "steps": self.steps,
            "sources": dict(self.sources),
        }


def _sources(a: Recording, b: Recording) -> dict[str, str]:
    """The sample of B for each of A: that of the same name, or at the same place where the names differ."""
    for rec in (a, b):
        check_finished(rec)
    ours, theirs = ([str(name) for name in rec.dataset["sample"].to_numpy()] for rec in (a, b))
    if set(ours) <= set(theirs):
        return {name: name for name in ours}
    if len(ours) != len(theirs):
        raise UserError(
            f"{a.path} has {len(ours)} samples and {b.path} {len(theirs)} of other names; allowed: the same names, "
            "or the same number"
        )
    return dict(zip(ours, theirs, strict=True))


def _in_double(images: xarray.DataArray) -> np.ndarray:
    return images.to_numpy().astype(np.float64)


def _norms(images: np.ndarray) -> np.ndarray:
    return np.linalg.norm(images.reshape(len(images), -1), axis=1)


def _digits(x_0: np.ndarray) -> np.ndarray | None:
    """The digit that each image shows; −1 where it is not finite, None if images are not digits."""
    return classify_finite(torch.from_numpy(x_0)).label if x_0.shape[1:] in SHAPES else None
