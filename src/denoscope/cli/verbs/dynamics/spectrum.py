"""`denoscope dynamics spectrum`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.flag_groups import SPECTRUM
from denoscope.cli.from_settings import load_with_condition, model_shape, read_noises, workers_of
from denoscope.cli.output import JSON, MeasureFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import torch

    from denoscope.dynamics.sensitivity.spectrum import Spectrum
    from denoscope.noise.noise_set import NoiseSet


@dataclass(frozen=True)
class SpectrumFlags(MeasureFlags):
    """How many exponents of which noises are computed, and of what."""

    samples: int = option(1, "How many of the noises in --inputs, starting with the first.", at_least(1))
    k: int = option(8, "How many of the largest exponents.", at_least(1))
    layer: str | None = option(None, "A layer, whose state is differentiated instead of x_0.")
    layer_step: int = option(-1, "The step in which that layer is read; -1 is the last.")
    differences: bool = option(False, "Also compare the derivatives with central differences.")
    vectors: Path | None = option(None, "A folder for the directions in x_T, NAME.pt [k, C, H, W].")
    output: Path = option(
        Path("spectrum.json"),
        "Output file: the exponents and their provenance. The folder NAME.kept beside it holds the checkpoints.",
        JSON,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is None and self.layer_step != SpectrumFlags.layer_step:
            raise UserError(
                f"{self.spelled('layer_step')} is {self.layer_step}, but no layer is named; name one (--layer) or leave out the step"
            )

    @property
    def checkpoints(self) -> Path:
        """The checkpoints, one for each noise."""
        return self.output.with_suffix(".kept") / "*.npz"

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        directions = [("--vectors", self.vectors / "*.pt")] if self.vectors else []
        return [*super().outputs, ("--output", self.checkpoints), *directions]


def run(settings: Settings, flags: SpectrumFlags) -> None:
    inference, inputs, replaces = settings.inference, settings.system.inputs, flags.output.exists()
    found: dict[str, Spectrum] = {}
    directions: dict[str, torch.Tensor] = {}
    with flags.reserved(inference, reads=[inputs / "*.pt"], saved=flags.checkpoints):
        from denoscope.dynamics.sensitivity.denoising_map import parse_k

        shape = model_shape(settings)
        parse_k(flags.k, math.prod(shape))
        x = read_noises(settings, shape)
        warn(x.warnings)
        if flags.samples > len(x):
            raise UserError(f"--samples is {flags.samples}; allowed: 1 to {len(x)}, the noises in {inputs}")
        chosen = x[: flags.samples]
        for name, result in _spectra_of(settings, flags, chosen):
            _print(name, result)
            found[name], directions[name] = result, result.right
            # After each noise, so that an error in a later one does not lose it; an earlier result stays until the end.
            if not replaces or len(found) == len(chosen):
                write_json(
                    flags.output, {name: found[name].to_dict() for name in chosen.names if name in found}
                )
                _save(directions, flags.vectors)
                directions.clear()
    print(flags.output)


def _save(directions: dict[str, torch.Tensor], folder: Path | None) -> None:
    """Write the directions of some noises, if a folder for them is named."""
    from denoscope.foundation import tensor_files

    if folder is not None:
        for name, right in directions.items():
            tensor_files.save(right, folder / f"{name}.pt")


def _print(name: str, result: Spectrum) -> None:
    print(f"{name}  exponents  " + "  ".join(f"{value:7.3f}" for value in result.exponents))
    if result.difference_errors is not None:
        print(f"{name}  central differences differ by up to {result.difference_errors.max():.1e}, relatively")
    warn(result.warnings)


def _spectra_of(settings: Settings, flags: SpectrumFlags, x: NoiseSet) -> Iterator[tuple[str, Spectrum]]:
    """The exponents of each noise; the first progress deletes the checkpoints of earlier results."""
    from denoscope import dynamics
    from denoscope.cli import progress
    from denoscope.foundation.checkpoint import Checkpoint

    denoiser, condition = load_with_condition(settings)
    inference, folder = settings.inference, flags.checkpoints.parent
    earlier = set(folder.glob(flags.checkpoints.name)) if inference.overwrite else set()
    counter, names = progress.Counter("", unit="iteration"), list(x.names)

    def report(name: str, done: int, total: int | None) -> None:
        nonlocal counter
        # Delete all of them now, so that a later --resume finds none; the one of this noise was replaced.
        for file in earlier - {folder / f"{name}.npz"}:
            file.unlink()
        earlier.clear()
        what = f"{name}, {names.index(name) + 1} of {len(names)}"
        if what != counter.what:
            counter.close()
            counter = progress.Counter(what, unit="iteration")
        counter(done, total)

    def checkpoint_of(name: str) -> Checkpoint:
        return Checkpoint(
            folder / f"{name}.npz",
            resume=inference.resume,
            overwrite=inference.overwrite,
            progress=partial(report, name),
        )

    with workers_of(settings) as client:
        yield from dynamics.spectra(
            denoiser,
            x,
            flags.k,
            checkpoint_of=checkpoint_of,
            cluster=client,
            allow_different_devices=settings.system.allow_different_devices,
            steps=inference.num_steps,
            layer=flags.layer,
            step=flags.layer_step,
            differences=flags.differences,
            noise=inference.noise,
            noise_seed=settings.system.seed,
            condition=condition,
        )
    counter.close()


VERB = Verb(
    run,
    "Compute the largest finite-time Lyapunov exponents of the whole map x_T → x_0.",
    SPECTRUM,
    SpectrumFlags,
    arguments={"step": "layer_step"},
)
