"""The spectra of several noises, each by one of the workers of a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from distributed import Client

from denoscope.cluster.shared_work import shared_run
from denoscope.cluster.sight import check_place
from denoscope.cluster.worker import Beat
from denoscope.dynamics.sensitivity.spectrum import Spectrum, spectrum
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.threads import threads_set_to
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import SharedModel
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.provenance import fingerprint
from denoscope.sampling.settings import Loop
from denoscope.storage.places import beside


def spectra_by(
    client: Client,
    denoiser: Denoiser,
    x: NoiseSet,
    options: Mapping[str, Any],
    checkpoint_of: Callable[[str], Checkpoint],
    *,
    allow_different_devices: bool,
) -> Iterator[tuple[str, Spectrum]]:
    """The spectra by the workers of a client; see `spectra`."""
    checkpoints = [checkpoint_of(name) for name in x.names]
    for checkpoint in checkpoints:
        checkpoint.check_free()
    if path := next((checkpoint.path for checkpoint in checkpoints if checkpoint.path), None):
        check_place(client, beside(path))
    recipe = SpectraRecipe(SharedModel.of(denoiser, torch.get_num_threads()), options)
    with shared_run(
        client,
        recipe,
        _description(denoiser, options),
        allow_different_devices=allow_different_devices,
        kept=checkpoints[0].how_to_continue,
    ) as run:
        contents = (
            (f"the spectrum of {name}", (name, x.batch([index]), _of_worker(checkpoint)))
            for index, (name, checkpoint) in enumerate(zip(x.names, checkpoints, strict=True))
        )
        for index, content in run.work.as_finished(contents, 1):
            found: Spectrum = pickle.loads(content)
            if report := checkpoints[index].progress:
                report(found.iterations, found.iterations)
            yield x.names[index], found


def _of_worker(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint of a unit: a worker continues what an earlier one that died has saved."""
    path = None if checkpoint.path is None else checkpoint.path.absolute()
    return replace(checkpoint, path=path, resume=path is not None and not checkpoint.overwrite, progress=None)


def _description(denoiser: Denoiser, options: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same on all workers."""
    loop = Loop(**{name: options[name] for name in ("steps", "noise", "noise_seed")})
    return fingerprint(denoiser, loop, options["condition"])


@dataclass(frozen=True, eq=False)
class SpectraRecipe:
    """What a worker prepares spectra from."""

    model: SharedModel
    options: Mapping[str, Any]

    def prepare(self) -> PreparedSpectra:
        """The loaded model.

        Raises: UserError if this worker cannot load it.
        """
        with self.model.loaded() as denoiser:
            return PreparedSpectra(self, denoiser, _description(denoiser, self.options))


@dataclass(frozen=True, eq=False)
class PreparedSpectra:
    """A model whose spectra this worker can compute."""

    recipe: SpectraRecipe
    denoiser: Denoiser
    description: Mapping[str, Any]

    def do(self, content: tuple[str, torch.Tensor, Checkpoint], beat: Beat) -> bytes:
        """The spectrum of one noise, pickled."""
        name, x_T, checkpoint = content
        with threads_set_to(self.recipe.model.threads):
            found = spectrum(
                self.denoiser,
                x_T,
                name=name,
                checkpoint=replace(checkpoint, progress=lambda finished, _total: beat(finished)),
                **self.recipe.options,
            )
        return pickle.dumps(found)
