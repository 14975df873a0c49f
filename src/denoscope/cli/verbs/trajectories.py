"""`denoscope dynamics …` of a recording's trajectories: when they are decided, and their shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.output import JSON, NPZ, Pictured, warn, write_json
from denoscope.cli.verb import KEPT, LEVELS, Verb, levels_of
from denoscope.config import Settings, at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from denoscope.recording.recording import Recording


@dataclass(frozen=True)
class CommitmentFlags(Pictured):
    """Whose samples are looked at, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    output: Path = option(
        Path("commitment.npz"), "The file of labels, steps and shares; what is finished is kept there.", NPZ
    )


def _commitment(settings: Settings, own: CommitmentFlags) -> None:
    from denoscope import dynamics, figures
    from denoscope.recording import recording

    inference = settings.inference
    with own.at_work(inference, "commitment", unit="sample", kept=own.output, reads=[own.path]) as checkpoint:
        found = dynamics.commitment(
            recording.open(own.path),
            device=settings.system.device,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_commitment, found)
    steps = found.sizes["step"]
    for step in sorted({0, steps // 4, steps // 2, 3 * steps // 4, steps - 1}):
        share, (low, high) = float(found["decided"][step]), found["decided_interval"][step].values
        print(
            f"step {step:>4}  σ {float(found['sigma'][step]):8.3f}  decided {share:6.1%}  [{low:.1%}, {high:.1%}]"
        )
    warn(found.attrs["warnings"])
    own.tell()


@dataclass(frozen=True)
class TurnFlags(Pictured):
    """Which images are noised and denoised again, up to which levels."""

    path: Path = option(Path("run.zarr"), "A recording, whose x_0 are taken.", positional=True)
    levels: tuple[float, ...] = option((), LEVELS)
    draws: int = option(16, "Noises for each image and level.", at_least(1))
    samples: int | None = option(None, "How many of the images, the first ones; all unless set.", at_least(1))
    output: Path = option(Path("u_turn.npz"), "The file of the curve; what is finished is kept there.", NPZ)


def _u_turn(settings: Settings, own: TurnFlags) -> None:
    import torch

    from denoscope import dynamics, figures
    from denoscope.recording import recording, replay
    from denoscope.storage.plan import IMAGES

    inference = settings.inference
    with own.at_work(inference, "U-turns", unit="image", kept=own.output, reads=[own.path]) as checkpoint:
        rec = recording.open(own.path)
        replay.need_finished(rec)
        rec.check(*IMAGES)
        if own.samples is not None and own.samples > rec.final.sizes["sample"]:
            raise UserError(
                f"--samples is {own.samples}; allowed: 1 to {rec.final.sizes['sample']}, the images in {own.path}"
            )
        denoiser = replay.denoiser_of(rec, device=settings.system.device)
        x_0, steps = torch.from_numpy(rec.final[: own.samples].to_numpy()), replay.options_of(rec).num_steps
        found = dynamics.u_turn(
            denoiser,
            x_0,
            own.levels or levels_of(steps),
            draws=own.draws,
            steps=steps,
            seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_u_turn, found)
    shown = ("level", "probability", "interval", "turn_distance")
    for level, share, (low, high), distance in zip(*(found[name].values for name in shown), strict=True):
        print(
            f"level {level:.2f}  same class {share:.3f}  [{low:.3f}, {high:.3f}]  distance {distance:.3g} (L2)"
        )
    warn(found.attrs["warnings"])
    own.tell()


@dataclass(frozen=True)
class GeometryFlags(Pictured):
    """Whose trajectories are measured, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    output: Path = option(Path("geometry.json"), "The file of the numbers.", JSON)


def _geometry(settings: Settings, own: GeometryFlags) -> None:
    import numpy as np

    from denoscope import dynamics, figures

    with own.claimed(settings.inference, reads=[own.path]):
        rec = _with_sequences(own.path)
        paths = rec.sequence.to_numpy()
        path, spread = dynamics.path_geometry(paths), dynamics.participation(paths)
    own.draw(figures.draw_path, path)
    print(f"length {np.median(path.lengths):.4g}, chord {np.median(path.chords):.4g}, straightness "
          f"{np.nanmedian(path.straightness):.3f} (medians of {len(paths)} samples, L2)")  # fmt: skip
    for state in sorted({0, (len(spread.ratio) - 1) // 2, len(spread.ratio) - 1}):
        low, high = spread.intervals[state]
        print(f"state {state:>4}  participation ratio {spread.ratio[state]:.2f}  [{low:.2f}, {high:.2f}]")
    warn([*path.warnings, *spread.warnings])
    found = {"computed_from": rec.origin, "path": path.to_dict(), "participation": spread.to_dict()}
    write_json(own.output, found)
    own.tell()


@dataclass(frozen=True)
class DistancesFlags(Pictured):
    """Whose trajectories are compared, by which distance, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    metric: str = option("euclidean", "euclidean, cosine, dtw, frechet or hausdorff.")
    output: Path = option(Path("distances.json"), "The file of the numbers.", JSON)


def _distances(settings: Settings, own: DistancesFlags) -> None:
    from denoscope import dynamics, figures

    with own.claimed(settings.inference, reads=[own.path]):
        rec = _with_sequences(own.path)
        if len(rec.sequence) < 2:
            raise UserError(f"{own.path} holds one sample; needed are two or more that can be compared")
        found = dynamics.trajectory_distances(rec.sequence.to_numpy(), metric=own.metric)
    names = [str(name) for name in rec.sequence["sample"].to_numpy()]
    write_json(own.output, {"computed_from": rec.origin, "samples": names, **found.to_dict()})
    own.draw(figures.draw_distances, found)
    for row, name in enumerate(names):
        others = found.values[row].copy()
        others[row] = math.inf
        nearest = int(others.argmin())
        print(f"{name}  nearest {names[nearest]}: {others[nearest]:.4g} ({own.metric})")
    warn(found.warnings)
    own.tell()


def _with_sequences(path: Path) -> Recording:
    """The recording at a path, finished and with its sequences as they were written."""
    from denoscope.recording import recording, replay

    rec = recording.open(path)
    replay.need_finished(rec)
    rec.check("sequence")
    return rec


@dataclass(frozen=True)
class SimilarityFlags(Pictured):
    """Which states are compared, and where the result goes."""

    path: Path = option(Path("run.zarr"), "A recording with layers.", positional=True)
    layers: tuple[str, ...] = option((), "Layers; all that were recorded unless set.")
    steps: tuple[int, ...] = option((-1,), "Steps in which they are compared; -1 is the last.")
    output: Path = option(Path("similarity.json"), "The file of the numbers.", JSON)


def _similarity(settings: Settings, own: SimilarityFlags) -> None:
    from denoscope import dynamics, figures
    from denoscope.recording import recording

    with own.claimed(settings.inference, reads=[own.path]):
        rec = recording.open(own.path)
        sets = _sets(rec, own.layers, own.steps)
        found = dynamics.cka_matrix(list(sets.values()))
    names = list(sets)
    write_json(own.output, {"computed_from": rec.origin, "sets": names, **found.to_dict()})
    own.draw(figures.draw_similarity, found, names=names)
    for row, name in enumerate(names):
        others = found.debiased[row].copy()
        others[row] = -math.inf
        nearest = int(others.argmax())
        print(f"{name}  most like {names[nearest]}: linear CKA {others[nearest]:.3f}, debiased")
    warn(found.warnings)
    own.tell()


def _sets(rec: Recording, layers: Sequence[str], steps: Sequence[int]) -> dict[str, np.ndarray]:
    """The states [sample, …] of each layer in each step, by names that say so."""
    from denoscope.recording import replay

    recorded = [int(step) for step in rec.dataset["step"].to_numpy()]
    if unknown := [layer for layer in layers if layer not in rec.states]:
        raise UserError(f"{rec.path} has no layer {unknown[0]!r}; it has {', '.join(rec.states) or 'none'}")
    if unheld := [step for step in steps if step not in (-1, *recorded)]:
        raise UserError(
            f"{rec.path} holds no states of step {unheld[0]}; it has {', '.join(map(str, recorded))}"
        )
    chosen = list(dict.fromkeys(layers)) or list(rec.states)
    at = list(dict.fromkeys(recorded[-1] if step == -1 else step for step in steps))
    if len(chosen) * len(at) < 2:
        raise UserError(
            f"{' '.join(chosen) or 'no layer'} in one step can be compared with nothing; name several --layers or --steps"
        )
    replay.need_finished(rec)
    rec.check(*chosen)
    return {
        f"{layer}, step {step}" if len(at) > 1 else layer: rec.states[layer].sel(step=step).to_numpy()
        for layer in chosen
        for step in at
    }


VERBS: dict[str, Verb] = {
    "dynamics commitment": Verb(
        _commitment,
        "In which step each sample of a recording is decided, by the class of its estimates of x_0.",
        {"system": "device", "inference": KEPT},
        CommitmentFlags,
    ),
    "dynamics u_turn": Verb(
        _u_turn,
        "How often images come back as the same class after they are noised part of the way.",
        {"system": "device seed", "inference": KEPT},
        TurnFlags,
    ),
    "dynamics similarity": Verb(
        _similarity,
        "How alike the recorded layers and steps are: linear centered kernel alignment.",
        {"inference": "overwrite"},
        SimilarityFlags,
    ),
    "dynamics distances": Verb(
        _distances,
        "How far the trajectories of a recording are from each other, by one of five distances.",
        {"inference": "overwrite"},
        DistancesFlags,
    ),
    "dynamics geometry": Verb(
        _geometry,
        "Lengths, turns and dimensions of the trajectories of a recording.",
        {"inference": "overwrite"},
        GeometryFlags,
    ),
}
