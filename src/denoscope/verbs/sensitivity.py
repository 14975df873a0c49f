"""`denoscope dynamics …` of how small differences grow: exponents, divergence, ridges, closed loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoscope.config import POSITIVE, Settings, at_least, option
from denoscope.errors import UserError
from denoscope.verbs.output import Pictured, check_ending, warn, write_json
from denoscope.verbs.verb import KEPT, MODEL, PLANE, OwnFlags, Verb, load, plane_of


@dataclass(frozen=True)
class SpectrumFlags(OwnFlags):
    """Whose exponents are computed, of what, how many of them, and where they go."""

    samples: int = option(1, "How many of the noises in --inputs, the first ones.", at_least(1))
    k: int = option(8, "How many exponents, the largest.", at_least(1))
    layer: str | None = option(None, "Of this layer's state instead of x_0.")
    layer_step: int = option(-1, "In this step; -1 is the last.")
    differences: bool = option(False, "Also compare the derivatives with central differences.")
    vectors: Path | None = option(None, "A folder for the directions in x_T, NAME.pt [k, C, H, W].")
    output: Path = option(
        Path("spectrum.json"),
        "The file of the exponents, with what they were computed from. What is finished is kept in NAME.kept beside it.",
    )

    @property
    def kept(self) -> Path:
        """The folder in which each noise has a file, as far as it got."""
        return self.output.with_suffix(".kept")

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Take the place of the exponents, where it is free, may be made free or can be gone on with."""
        kept = list(self.kept.glob("*.npz"))
        taken = next((place for place in (self.output, *kept) if place.exists()), None)
        if taken and not (resume or overwrite):
            raise UserError(
                f"{taken} exists; go on with it (--resume), replace it (--overwrite) or name another --output"
            )
        if resume and taken and not kept:
            raise UserError(
                f"{self.output} cannot be gone on with, since {self.kept} holds nothing of it; replace it (--overwrite) "
                "or name another --output"
            )
        if overwrite and not resume:
            # All at once: a later --resume must not meet those of former work.
            for file in kept:
                file.unlink()


def _spectrum(settings: Settings, own: SpectrumFlags) -> None:
    from denoscope import dynamics, files, noise, progress, tensors

    check_ending(own.output, SpectrumFlags.output)
    files.writable(own.output.parent)
    denoiser, inference = load(settings), settings.inference
    x = noise.read(settings.system.inputs, shape=denoiser.shape)
    if own.samples > len(x):
        raise UserError(
            f"--samples is {own.samples}; allowed: 1 to {len(x)}, the noises in {settings.system.inputs}"
        )
    own.claim(resume=inference.resume, overwrite=inference.overwrite)
    found: dict[str, Any] = {}
    for index, name in enumerate(x.names[: own.samples]):
        with progress.Counter(f"{name}, {index + 1} of {own.samples}", unit="iteration") as told:
            one = dynamics.spectrum(
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
                out=own.kept / f"{name}.npz",
                resume=inference.resume,
                overwrite=inference.overwrite,
                progress=told,
            )
        print(f"{name}  " + "  ".join(f"{value:7.3f}" for value in one.exponents))
        warn(one.warnings)
        found[name] = one.to_dict()
        # After each noise, so that no other is lost with a later one.
        write_json(own.output, found)
        if own.vectors is not None:
            tensors.save(one.right, own.vectors / f"{name}.pt")
    print(own.output)


@dataclass(frozen=True)
class DivergenceFlags(Pictured):
    """Which recording's pairs are compared, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording of perturbed noises.", positional=True)
    threshold: float = option(2.0, "Factor of x_T's separation from which a pair counts as diverged.")
    output: Path = option(Path("divergence.npz"), "The file of separations, growth and survival.")


def _divergence(_settings: Settings, own: DivergenceFlags) -> None:
    from denoscope import dynamics, kept, recording

    own.check()
    found = dynamics.divergence(recording.open(own.path), threshold=own.threshold)
    kept.write(found, own.output)
    own.draw(dynamics.draw_divergence, found)
    for pair, rate, first in zip(
        found["sample"].values, found["growth_rate"].values, found["diverged_at"].values, strict=True
    ):
        told = f"diverged at state {first}" if first >= 0 else "not diverged"
        print(f"{pair}  growth {rate:+.4f} per step, {told}")
    warn(found.attrs["warnings"])
    own.tell()


@dataclass(frozen=True)
class GrowthFlags(Pictured):
    """Where the ridge map goes."""

    output: Path = option(Path("growth.npz"), "The file of the map; what is finished is kept there.")


def _growth(settings: Settings, own: GrowthFlags) -> None:
    from denoscope import dynamics, progress

    own.check()
    denoiser, inference = load(settings), settings.inference
    with progress.Counter("ridge map", unit="point") as told:
        found = dynamics.plane_growth(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            out=own.output,
            resume=inference.resume,
            overwrite=inference.overwrite,
            progress=told,
        )
    own.draw(dynamics.draw_growth, found)
    leading = found["growth"].isel(direction=0)
    low, middle, high = (float(leading.quantile(share)) for share in (0, 0.5, 1))
    print(f"growth of the plane, ln over the whole map: {low:.2f} to {high:.2f}, median {middle:.2f}")
    own.tell()


@dataclass(frozen=True)
class LyapunovFlags(OwnFlags):
    """Which closed loop is iterated, and how long."""

    level: float = option(0.5, "How far back each iteration noises, as a share of the steps.", POSITIVE)
    iterations: int = option(1000, "Iterations that are measured.", at_least(1))
    discard: int = option(100, "Iterations before, for the transient.", at_least(0))
    k: int = option(2, "How many exponents, the largest.", at_least(1))
    loop_noise: str = option("fixed", "fixed: one draw for all iterations; common: one for each.")
    output: Path = option(
        Path("lyapunov.json"), "The file of the exponents, with what they were computed from."
    )
    kept: Path = option(Path("lyapunov.npz"), "The file in which the orbit is kept as far as it got.")


def _lyapunov(settings: Settings, own: LyapunovFlags) -> None:
    from denoscope import dynamics, files, noise, progress, sampling

    check_ending(own.output, LyapunovFlags.output)
    files.writable(own.output.parent)
    denoiser, inference = load(settings), settings.inference
    x_T = noise.read(settings.system.inputs, shape=denoiser.shape).batch([0])
    x_0 = sampling.sample(denoiser, x_T, steps=inference.num_steps, noise_seed=settings.system.seed)
    loop = dynamics.closed_loop(
        denoiser,
        own.level,
        noise_seed=settings.system.seed,
        noise=own.loop_noise,  # type: ignore[arg-type]
        steps=inference.num_steps,
    )
    with progress.Counter("closed loop", unit="iteration") as told:
        found = dynamics.lyapunov(
            loop,
            x_0[0],
            iterations=own.iterations,
            k=own.k,
            discard=own.discard,
            out=own.kept,
            resume=inference.resume,
            overwrite=inference.overwrite,
            progress=told,
        )
    for number, (value, (low, high)) in enumerate(zip(found.exponents, found.intervals, strict=True), 1):
        print(f"exponent {number}: {value:+.4f} per iteration  [{low:+.4f}, {high:+.4f}]")
    warn(found.warnings)
    write_json(own.output, found.to_dict())
    print(own.output)


VERBS: dict[str, Verb] = {
    "dynamics spectrum": Verb(
        _spectrum,
        "Finite-time Lyapunov exponents of the whole map x_T → x_0, the largest ones.",
        {"system": "inputs device seed", "model": MODEL, "inference": f"num_steps noise {KEPT}"},
        SpectrumFlags,
    ),
    "dynamics divergence": Verb(
        _divergence,
        "How perturbed trajectories of a recording leave their base, in x_t and in every layer.",
        {},
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
    "dynamics lyapunov": Verb(
        _lyapunov,
        "Asymptotic Lyapunov exponents of noising and denoising an image again and again.",
        {"system": "inputs device seed", "model": MODEL, "inference": f"num_steps {KEPT}"},
        LyapunovFlags,
    ),
}
