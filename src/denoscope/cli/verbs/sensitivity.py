"""`denoscope dynamics …` of how small differences grow: exponents, divergence, ridges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.output import JSON, NPZ, Keeping, Measured, Pictured, warn, write_json
from denoscope.cli.verb import KEPT, MODEL, PLANE, Verb, load, plane_of
from denoscope.config import POSITIVE, Settings, at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from denoscope.dynamics.sensitivity.spectrum import Spectrum
    from denoscope.models.denoiser import Denoiser
    from denoscope.noise.noise_set import NoiseSet

SPECTRUM = {"system": "inputs device seed", "model": MODEL, "inference": f"num_steps noise {KEPT}"}
"""Flags of the exponents of a noise of a folder."""


@dataclass(frozen=True)
class SpectrumFlags(Measured):
    """Whose exponents are computed, of what, how many of them, and where they go."""

    samples: int = option(1, "How many of the noises in --inputs, the first ones.", at_least(1))
    k: int = option(8, "How many exponents, the largest.", at_least(1))
    layer: str | None = option(None, "Of this layer's state instead of x_0.")
    layer_step: int = option(-1, "In this step of that layer; -1 is the last.")
    differences: bool = option(False, "Also compare the derivatives with central differences.")
    vectors: Path | None = option(None, "A folder for the directions in x_T, NAME.pt [k, C, H, W].")
    output: Path = option(
        Path("spectrum.json"),
        "The file of the exponents, with what they were computed from. What is finished is kept in NAME.kept beside it.",
        JSON,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is None and self.layer_step != SpectrumFlags.layer_step:
            raise UserError(
                f"--layer_step is {self.layer_step}, and no layer is named; name one (--layer), or leave the step out"
            )

    @property
    def kept(self) -> Path:
        """The files in which each noise is kept as far as it got."""
        return self.output.with_suffix(".kept") / "*.npz"

    @property
    def places(self) -> list[tuple[str, Path]]:
        directions = [("--vectors", self.vectors / "*.pt")] if self.vectors else []
        return [*super().places, ("--output", self.kept), *directions]


def _spectrum(settings: Settings, own: SpectrumFlags) -> None:
    from denoscope import noise
    from denoscope.foundation import tensor_files

    inference, inputs, found = settings.inference, settings.system.inputs, {}
    with own.claimed(inference, reads=[inputs / "*.pt"], kept=own.kept):
        denoiser = load(settings)
        x = noise.read(inputs, shape=denoiser.shape)
        if own.samples > len(x):
            raise UserError(f"--samples is {own.samples}; allowed: 1 to {len(x)}, the noises in {inputs}")
        former = list(own.kept.parent.glob(own.kept.name)) if inference.overwrite else []
        for index, name in enumerate(x.names[: own.samples]):
            one = _spectrum_of(settings, own, denoiser, x, index, former)
            print(f"{name}  " + "  ".join(f"{value:7.3f}" for value in one.exponents))
            if one.difference_errors is not None:
                print(
                    f"{name}  central differences lie up to {one.difference_errors.max():.1e} apart, relatively"
                )
            warn(one.warnings)
            found[name] = one.to_dict()
            # After each noise, so that no other is lost with a later one.
            write_json(own.output, found)
            if own.vectors is not None:
                tensor_files.save(one.right, own.vectors / f"{name}.pt")
    print(own.output)


def _spectrum_of(
    settings: Settings, own: SpectrumFlags, denoiser: Denoiser, x: NoiseSet, index: int, former: list[Path]
) -> Spectrum:
    """The exponents of one noise; once there is something to put there, what is kept of `former` work is gone."""
    from denoscope import dynamics
    from denoscope.cli import progress
    from denoscope.foundation.checkpoint import Checkpoint

    inference, name = settings.inference, x.names[index]
    place = own.kept.with_name(f"{name}.npz")

    def told(done: int, at_most: int) -> None:
        # All at once, so that a later --resume meets nothing of it; the noise under way has replaced its own.
        while former:
            if (file := former.pop()) != place:
                file.unlink()
        counter(done, at_most)

    with progress.Counter(f"{name}, {index + 1} of {own.samples}", unit="iteration") as counter:
        return dynamics.spectrum(
            denoiser,
            x.batch([index]),
            own.k,
            steps=inference.num_steps,
            layer=own.layer,
            step=own.layer_step,
            differences=own.differences,
            noise=inference.noise,
            noise_seed=settings.system.seed,
            name=name,
            checkpoint=Checkpoint(
                place, resume=inference.resume, overwrite=inference.overwrite, progress=told
            ),
        )


@dataclass(frozen=True)
class FullSpectrumFlags(Keeping, Pictured):
    """Where the product of all steps is kept, and where the exponents go."""

    output: Path = option(
        Path("full_spectrum.json"), "The file of the exponents, with what they were computed from.", JSON
    )
    kept: Path = option(
        Path("full_spectrum.npz"), "The file in which the product of the steps is kept as far as it got.", NPZ
    )


def _full_spectrum(settings: Settings, own: FullSpectrumFlags) -> None:
    from denoscope import dynamics, figures, noise

    inference = settings.inference
    with own.at_work(inference, "full spectrum", unit="step", kept=own.kept) as checkpoint:
        denoiser = load(settings)
        found = dynamics.full_spectrum(
            denoiser,
            noise.read(settings.system.inputs, shape=denoiser.shape).batch([0]),
            steps=inference.num_steps,
            noise=inference.noise,
            noise_seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    write_json(own.output, found.to_dict())
    own.draw(figures.draw_exponents, {type(denoiser.scheduler).__name__: found.exponents})
    values = found.exponents
    print(f"{len(values)} exponents, {(values > 0).sum()} above 0, {values[0]:.3f} to {values[-1]:.3f}")
    print(f"sum {values.sum():.10g}, ln|det| {found.log_det:.10g}")
    print(f"Kaplan–Yorke dimension {dynamics.kaplan_yorke(values).value:.2f}")
    warn(found.warnings)
    own.tell()


@dataclass(frozen=True)
class ExpansionFlags(Pictured):
    """Along how many directions each step is looked at, and where the rates go."""

    k: int = option(8, "How many directions are carried along.", at_least(1))
    output: Path = option(
        Path("local_expansion.json"), "The file of the rates, with what they were computed from.", JSON
    )


def _local_expansion(settings: Settings, own: ExpansionFlags) -> None:
    from denoscope import dynamics, figures, noise
    from denoscope.cli import progress

    inference = settings.inference
    with own.claimed(inference), progress.Counter("local expansion", unit="step") as told:
        denoiser = load(settings)
        found = dynamics.local_expansion(
            denoiser,
            noise.read(settings.system.inputs, shape=denoiser.shape).batch([0]),
            own.k,
            steps=inference.num_steps,
            noise=inference.noise,
            noise_seed=settings.system.seed,
            progress=told,
        )
    write_json(own.output, found.to_dict())
    own.draw(figures.draw_expansion, found)
    for step, rates in enumerate(found.rates):
        print(f"step {step:>4}  " + "  ".join(f"{rate:+7.3f}" for rate in rates))
    own.tell()


@dataclass(frozen=True)
class DivergenceFlags(Pictured):
    """Which recording's pairs are compared, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording of perturbed noises.", positional=True)
    threshold: float = option(2.0, "Factor of x_T's separation from which a pair counts as diverged.")
    output: Path = option(Path("divergence.npz"), "The file of separations, growth and survival.", NPZ)


def _divergence(settings: Settings, own: DivergenceFlags) -> None:
    from denoscope import dynamics, figures
    from denoscope.foundation import checkpoint
    from denoscope.recording import recording

    with own.claimed(settings.inference, reads=[own.path]):
        found = dynamics.divergence(recording.open(own.path), threshold=own.threshold)
    checkpoint.write(found, own.output)
    own.draw(figures.draw_divergence, found)
    for pair, rate, first in zip(
        found["sample"].values, found["growth_rate"].values, found["diverged_at"].values, strict=True
    ):
        told = f"diverged at state {first}" if first >= 0 else "not diverged"
        print(f"{pair}  growth {rate:+.4f} per step, {told}")
    warn(found.attrs["warnings"])
    own.tell()


@dataclass(frozen=True)
class SweepFlags(Pictured):
    """Whose sizes of perturbation are compared, and where the result goes."""

    path: Path = option(
        Path("run.zarr"), "A recording of sets with several epsilons around one base.", positional=True
    )
    tolerance: float = option(0.05, "By how much growth (ln) may differ on the plateau.", POSITIVE)
    output: Path = option(Path("sweep.json"), "The file of the numbers.", JSON)


def _sweep(settings: Settings, own: SweepFlags) -> None:
    from denoscope import dynamics, figures
    from denoscope.recording import recording

    with own.claimed(settings.inference, reads=[own.path]):
        apart = dynamics.divergence(recording.open(own.path), layers=[])
        found = dynamics.epsilon_sweep(apart, tolerance=own.tolerance)
    write_json(own.output, found.to_dict())
    own.draw(figures.draw_sweep, found)
    for epsilon, growth, (low, high), usable, linear in zip(
        found.epsilons, found.growth, found.spread, found.usable, found.linear, strict=True
    ):
        told = "linear" if linear else "" if usable else "below the noise floor"
        print(f"epsilon {epsilon:<8g} growth {growth:6.2f}  [{low:.2f}, {high:.2f}]  {told}".rstrip())
    warn(found.warnings)
    own.tell()


@dataclass(frozen=True)
class GrowthFlags(Pictured):
    """Where the ridge map goes."""

    output: Path = option(Path("growth.npz"), "The file of the map; what is finished is kept there.", NPZ)


def _growth(settings: Settings, own: GrowthFlags) -> None:
    from denoscope import dynamics, figures

    inference = settings.inference
    with own.at_work(inference, "ridge map", unit="point", kept=own.output) as checkpoint:
        denoiser = load(settings)
        found = dynamics.plane_growth(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_growth, found)
    leading = found["growth"].isel(direction=0)
    low, middle, high = (float(leading.quantile(share)) for share in (0, 0.5, 1))
    print(f"growth of the plane, ln over the whole map: {low:.2f} to {high:.2f}, median {middle:.2f}")
    own.tell()


VERBS: dict[str, Verb] = {
    "dynamics spectrum": Verb(
        _spectrum,
        "Finite-time Lyapunov exponents of the whole map x_T → x_0, the largest ones.",
        SPECTRUM,
        SpectrumFlags,
    ),
    "dynamics full_spectrum": Verb(
        _full_spectrum,
        "All finite-time Lyapunov exponents of the whole map x_T → x_0, of the first noise.",
        SPECTRUM,
        FullSpectrumFlags,
    ),
    "dynamics local_expansion": Verb(
        _local_expansion,
        "How much each step stretches a frame of directions that is carried along from the first noise.",
        {**SPECTRUM, "inference": "num_steps noise overwrite"},
        ExpansionFlags,
    ),
    "dynamics sweep": Verb(
        _sweep,
        "Over which sizes of a perturbation its growth is that of the derivative.",
        {"inference": "overwrite"},
        SweepFlags,
    ),
    "dynamics divergence": Verb(
        _divergence,
        "How perturbed trajectories of a recording leave their base, in x_t and in every layer.",
        {"inference": "overwrite"},
        DivergenceFlags,
    ),
    "dynamics growth": Verb(
        _growth,
        "How much the map x_T → x_0 stretches a plane of noises, point by point: ridges and flats.",
        {
            "system": "device seed",
            "model": MODEL,
            "inference": f"num_steps batch_size lanes {KEPT}",
            "default": PLANE,
        },
        GrowthFlags,
    ),
}
