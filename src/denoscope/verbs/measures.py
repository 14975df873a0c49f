"""`denoscope dynamics …`: measures of models and recordings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.config import POSITIVE, Settings, at_least, option
from denoscope.errors import UserError
from denoscope.verbs.verb import PLANE, OwnFlags, Verb, load, plane_of, warn

if TYPE_CHECKING:
    import numpy as np

MODEL = {"system": "device seed", "model": "model scheduler dtype"}
KEPT = "resume overwrite"


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
        Path("spectrum.json"), "The file of the exponents, with what they were computed from."
    )


def _spectrum(settings: Settings, own: SpectrumFlags) -> None:
    from denoscope import dynamics, files, noise, progress, tensors

    files.writable(own.output.parent)
    denoiser, inference = load(settings), settings.inference
    x = noise.read(settings.system.inputs, shape=denoiser.shape)
    if own.samples > len(x):
        raise UserError(
            f"--samples is {own.samples}; allowed: 1 to {len(x)}, the noises in {settings.system.inputs}"
        )
    found: dict[str, Any] = {}
    for index, name in enumerate(x.names[: own.samples]):
        with progress.Counter(f"iterations of {name}", unit="iteration") as told:
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
                progress=told,
            )
        print(f"{name}  " + "  ".join(f"{value:7.3f}" for value in one.exponents))
        warn(one.warnings)
        found[name] = one.to_dict()
        # After each noise, so that no other is lost with a later one.
        _write(own.output, found)
        if own.vectors is not None:
            tensors.save(one.right, own.vectors / f"{name}.pt")
    print(own.output)


@dataclass(frozen=True)
class DivergenceFlags(OwnFlags):
    """Which recording's pairs are compared, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording of perturbed noises.", positional=True)
    threshold: float = option(2.0, "Factor of x_T's separation from which a pair counts as diverged.")
    output: Path = option(Path("divergence.png"), "The picture of separations by step (.png, .pdf, .svg).")


def _divergence(_settings: Settings, own: DivergenceFlags) -> None:
    from denoscope import dynamics, plots, recording

    found = dynamics.divergence(recording.open(own.path), threshold=own.threshold)
    figure, ax = plots.figure()
    dynamics.draw_divergence(ax, found)
    plots.save(figure, own.output)
    for pair, rate, first in zip(
        found["sample"].values, found["growth_rate"].values, found["diverged_at"].values, strict=True
    ):
        told = f"diverged at state {first}" if first >= 0 else "not diverged"
        print(f"{pair}  growth {rate:+.4f} per step, {told}")
    warn(found.attrs["warnings"])
    print(own.output)


@dataclass(frozen=True)
class VerdictFlags(OwnFlags):
    """Which plane of labels is judged."""

    path: Path = option(
        Path("outputs/classifications_plane.pt"),
        "Labels of a plane, as classify writes them, or a map of basins (.npz).",
        positional=True,
    )


def _verdict(_settings: Settings, own: VerdictFlags) -> None:
    from denoscope import dynamics

    found = dynamics.verdict(labels_of(own.path))
    print(found)
    print(
        f"boundary dimension {found.dimension.spaced_value:.3f}, disorder of neighbouring cells {found.disorder:.2f}"
    )
    warn(found.warnings)


@dataclass(frozen=True)
class GrowthFlags(OwnFlags):
    """Where the ridge map goes."""

    output: Path = option(Path("growth.npz"), "The file of the map; what is finished is kept there.")
    picture: Path = option(Path("growth.png"), "Its picture (.png, .pdf, .svg).")


def _growth(settings: Settings, own: GrowthFlags) -> None:
    from denoscope import dynamics, plots, progress

    plots.check_library()
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
    figure, ax = plots.figure()
    dynamics.draw_growth(ax, found)
    plots.save(figure, own.picture)
    leading = found["growth"].isel(direction=0)
    low, middle, high = (float(leading.quantile(share)) for share in (0, 0.5, 1))
    print(f"growth of the plane, ln over the whole map: {low:.2f} to {high:.2f}, median {middle:.2f}")
    print(own.output, own.picture, sep="\n")


@dataclass(frozen=True)
class CommitmentFlags(OwnFlags):
    """Whose samples are looked at, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    output: Path = option(Path("commitment.npz"), "The file of labels, steps and shares.")
    picture: Path = option(Path("commitment.png"), "Their picture (.png, .pdf, .svg).")


def _commitment(settings: Settings, own: CommitmentFlags) -> None:
    from denoscope import dynamics, files, kept, origin, plots, progress, recording

    plots.check_library()
    files.writable(own.output.parent)
    rec = recording.open(own.path)
    with progress.Counter("commitment", unit="sample") as told:
        denoiser = origin.denoiser_of(rec, device=settings.system.device)
        found = dynamics.commitment(rec, denoiser=denoiser, progress=told)
    kept.write(found, own.output)
    figure, ax = plots.figure()
    dynamics.draw_commitment(ax, found)
    plots.save(figure, own.picture)
    steps = found.sizes["step"]
    for step in sorted({0, steps // 4, steps // 2, 3 * steps // 4, steps - 1}):
        share, (low, high) = float(found["decided"][step]), found["decided_interval"][step].values
        print(
            f"step {step:>4}  σ {float(found['sigma'][step]):8.3f}  decided {share:6.1%}  [{low:.1%}, {high:.1%}]"
        )
    warn(found.attrs["warnings"])
    print(own.output, own.picture, sep="\n")


@dataclass(frozen=True)
class GeometryFlags(OwnFlags):
    """Whose trajectories are measured, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    output: Path = option(Path("geometry.json"), "The file of the numbers.")
    picture: Path = option(Path("geometry.png"), "Steps and turns by step (.png, .pdf, .svg).")


def _geometry(_settings: Settings, own: GeometryFlags) -> None:
    import numpy as np

    from denoscope import dynamics, plots, recording

    plots.check_library()
    rec = recording.open(own.path)
    paths = rec.sequence.to_numpy()
    path, spread = dynamics.path_geometry(paths), dynamics.participation(paths)
    figure, ax = plots.figure()
    dynamics.draw_path(ax, path)
    plots.save(figure, own.picture)
    print(f"length {np.median(path.lengths):.4g}, chord {np.median(path.chords):.4g}, straightness "
          f"{np.nanmedian(path.straightness):.3f} (medians of {len(paths)} samples, L2)")  # fmt: skip
    for state in sorted({0, (len(spread.ratio) - 1) // 2, len(spread.ratio) - 1}):
        low, high = spread.intervals[state]
        print(f"state {state:>4}  participation ratio {spread.ratio[state]:.2f}  [{low:.2f}, {high:.2f}]")
    warn([*path.warnings, *spread.warnings])
    _write(own.output, {"path": path.to_dict(), "participation": spread.to_dict()})
    print(own.output, own.picture, sep="\n")


@dataclass(frozen=True)
class TurnFlags(OwnFlags):
    """Which images are noised and denoised again, up to which levels."""

    path: Path = option(Path("run.zarr"), "A recording, whose x_0 are taken.", positional=True)
    levels: tuple[float, ...] = option(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "Shares of the steps that are gone back."
    )
    draws: int = option(16, "Noises for each image and level.", at_least(1))
    samples: int | None = option(None, "How many of the images, the first ones; all unless set.", at_least(1))
    output: Path = option(Path("u_turn.npz"), "The file of the curve; what is finished is kept there.")
    picture: Path = option(Path("u_turn.png"), "Its picture (.png, .pdf, .svg).")


def _u_turn(settings: Settings, own: TurnFlags) -> None:
    import torch

    from denoscope import dynamics, origin, plots, progress, recording

    plots.check_library()
    rec, inference = recording.open(own.path), settings.inference
    x_0 = torch.from_numpy(rec.final[: own.samples].to_numpy())
    with progress.Counter("U-turns", unit="image") as told:
        found = dynamics.u_turn(
            origin.denoiser_of(rec, device=settings.system.device),
            x_0,
            own.levels,
            draws=own.draws,
            steps=origin.options_of(rec).num_steps,
            seed=settings.system.seed,
            out=own.output,
            resume=inference.resume,
            overwrite=inference.overwrite,
            progress=told,
        )
    figure, ax = plots.figure()
    dynamics.draw_u_turn(ax, found)
    plots.save(figure, own.picture)
    for level, share, (low, high) in zip(
        found["level"].values, found["probability"].values, found["interval"].values, strict=True
    ):
        print(f"level {level:.2f}  same class {share:.3f}  [{low:.3f}, {high:.3f}]")
    warn(found.attrs["warnings"])
    print(own.output, own.picture, sep="\n")


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
    _write(own.output, found.to_dict())
    print(own.output)


@dataclass(frozen=True)
class BasinsFlags(OwnFlags):
    """Which plane of labels is measured, by which boxes."""

    path: Path = option(
        Path("outputs/classifications_plane.pt"),
        "Labels of a plane, as classify writes them, or a map of basins (.npz).",
        positional=True,
    )
    boxes: tuple[int, ...] = option((), "Sides of the boxes in cells; some that suit the plane unless set.")
    output: Path = option(Path("basins.json"), "The file of the numbers, with what they were computed from.")


def _basins(_settings: Settings, own: BasinsFlags) -> None:
    from denoscope import dynamics

    labels = labels_of(own.path)
    boxes = own.boxes or _boxes(labels.shape)
    fractions = dynamics.basin_fractions(labels)
    for label, share, (low, high) in zip(
        fractions.classes, fractions.fractions, fractions.intervals, strict=True
    ):
        print(f"class {label:>3}  {share:7.2%}  [{low:.2%}, {high:.2%}]")
    entropy = dynamics.basin_entropy(labels, box=boxes)
    print(f"{'box':>9}  basin entropy  boundary entropy (nats)")
    for box, inner, boundary in zip(boxes, entropy.entropy, entropy.boundary_entropy, strict=True):
        print(f"{box:>9}  {inner:13.4f}  {boundary:16.4f}")
    dimension = dynamics.boundary_dimension(labels, boxes=boxes)
    low, high = dimension.spaced_interval
    print(
        f"boundary dimension {dimension.spaced_value:.3f}  [{low:.3f}, {high:.3f}]  over boxes {boxes[0]} to {boxes[-1]}"
    )
    warn([*fractions.warnings, *entropy.warnings, *dimension.warnings])
    found = {"fractions": fractions, "entropy": entropy, "dimension": dimension}
    _write(own.output, {name: one.to_dict() for name, one in found.items()})
    print(own.output)


def _boxes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides that double from 2 cells to a third of the plane."""
    return tuple(2**power for power in range(1, 12) if 2**power <= min(shape) // 3)


def labels_of(path: Path) -> np.ndarray:
    """The labels [ny, nx] in a file of either kind."""
    from denoscope import kept, tensors

    if path.suffix != ".npz":
        return tensors.load(path).numpy()
    found = kept.read(path)
    if "label" not in found:
        raise UserError(f"{path}: holds no labels but {', '.join(map(str, found.data_vars))}")
    if not found["computed"].all():
        raise UserError(f"{path} is not finished; go on with it (--resume)")
    labels: np.ndarray = found["label"].to_numpy()
    return labels


def _write(path: Path, content: Any) -> None:
    """The numbers as JSON."""
    from denoscope import files

    with files.replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())


VERBS: dict[str, Verb] = {
    "dynamics spectrum": Verb(
        _spectrum,
        "Finite-time Lyapunov exponents of the whole map x_T → x_0, the largest ones.",
        {"system": "inputs device seed", "model": "model scheduler dtype", "inference": "num_steps noise"},
        SpectrumFlags,
    ),
    "dynamics divergence": Verb(
        _divergence,
        "How perturbed trajectories of a recording leave their base, in x_t and in every layer.",
        {},
        DivergenceFlags,
    ),
    "dynamics verdict": Verb(
        _verdict,
        "Whether a plane of classes shows a fractal boundary, a smooth one, or noise.",
        {},
        VerdictFlags,
    ),
    "dynamics growth": Verb(
        _growth,
        "How much the map x_T → x_0 stretches a plane of noises, point by point: ridges and flats.",
        {**MODEL, "inference": f"num_steps batch_size lanes {KEPT}", "default": PLANE},
        GrowthFlags,
    ),
    "dynamics basins": Verb(
        _basins,
        "Shares of the classes on a plane, entropy and dimension of the boundaries between them.",
        {},
        BasinsFlags,
    ),
    "dynamics commitment": Verb(
        _commitment,
        "In which step each sample of a recording is decided, by the class of its estimates of x_0.",
        {"system": "device"},
        CommitmentFlags,
    ),
    "dynamics geometry": Verb(
        _geometry,
        "Lengths, turns and dimensions of the trajectories of a recording.",
        {},
        GeometryFlags,
    ),
    "dynamics u_turn": Verb(
        _u_turn,
        "How often images come back as the same class after they are noised part of the way.",
        {"system": "device seed", "inference": KEPT},
        TurnFlags,
    ),
    "dynamics lyapunov": Verb(
        _lyapunov,
        "Asymptotic Lyapunov exponents of noising and denoising an image again and again.",
        {"system": "inputs device seed", "model": "model scheduler dtype", "inference": f"num_steps {KEPT}"},
        LyapunovFlags,
    ),
}
