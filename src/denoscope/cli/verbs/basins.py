"""`denoscope basins map`, and `denoscope dynamics …` of planes of labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.output import JSON, NPZ, Keeping, Measured, Pictured, warn, write_json
from denoscope.cli.verb import KEPT, MODEL, PLANE, Verb, load, plane_of
from denoscope.config import Rule, Settings, at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from denoscope.dynamics.boundaries.basin_entropy import BasinEntropy
    from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
    from denoscope.dynamics.boundaries.wada import Wada

CLASSIFIED_PLANE = {
    "system": "device seed",
    "model": MODEL,
    "inference": f"num_steps batch_size lanes {KEPT}",
    "classifier": "classifier_weights reject",
    "default": PLANE,
}
"""Flags of what asks for the class of noises of a plane."""
LEAST_BOXES = 3
"""Through which a dimension is fitted."""
TOLD = 4
"""How many of the arrays in a file are told where none of them is a plane."""
PLANES = "as `denoscope basins map` (.npz) and `denoscope classify` (.pt) write them"


@dataclass(frozen=True)
class MapFlags(Pictured):
    """Where the map goes."""

    output: Path = option(Path("basins.npz"), "The file of the map; what is finished is kept there.", NPZ)


def _map(settings: Settings, own: MapFlags) -> None:
    from denoscope import basins, figures

    inference, asked = settings.inference, settings.classifier
    with own.at_work(inference, "map of basins", unit="cell", kept=own.output) as checkpoint:
        denoiser = load(settings)
        found = basins.map(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            classifier=asked.classifier_weights or "lenet",
            reject=asked.reject,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_basins, found, colors=settings.system.class_colors)
    warn(found.attrs["warnings"])
    own.tell()


@dataclass(frozen=True)
class LabelFlags(Measured):
    """Which plane of labels is looked at."""

    path: Path = option(
        Path("outputs/classifications_plane.pt"),
        "Labels of a plane, as classify writes them, or a map of basins (.npz).",
        positional=True,
    )


@dataclass(frozen=True)
class VerdictFlags(LabelFlags):
    """Where the verdict goes."""

    output: Path = option(Path("verdict.json"), "The file of the verdict, with all that it rests on.", JSON)


def _verdict(settings: Settings, own: VerdictFlags) -> None:
    from denoscope import dynamics

    with own.claimed(settings.inference):
        labels, origin = _plane_in(own.path)
        found = dynamics.verdict(labels)
    write_json(own.output, {"computed_from": origin, **found.to_dict()})
    sides = found.dimension.fit.sides
    print(found)
    print(
        f"boundary dimension {found.dimension.value:.3f} over {sides[0]:g} to {sides[-1]:g} spacings between cells, "
        f"disorder of neighbouring cells {found.disorder:.2f}"
    )
    warn(found.warnings)
    print(own.output)


SIDES: Rule = (
    f"at least {LEAST_BOXES} different integers of at least 2",
    lambda sides: not sides or (len(set(sides)) >= LEAST_BOXES and min(sides) >= 2),
)


@dataclass(frozen=True)
class BasinsFlags(LabelFlags):
    """By which boxes it is measured."""

    boxes: tuple[int, ...] = option(
        (), "Sides of the boxes in cells; some that suit the plane unless set.", SIDES
    )
    output: Path = option(
        Path("basins.json"), "The file of the numbers, with what they were computed from.", JSON
    )


def _basins(settings: Settings, own: BasinsFlags) -> None:
    from denoscope import dynamics
    from denoscope.models.classifier.labels import REJECTED

    with own.claimed(settings.inference):
        labels, origin = _plane_in(own.path)
        fractions = dynamics.basin_fractions(labels)
        boundary: dict[str, Any] = {}
        boxes, unmeasured = _boxes(labels.shape, own.boxes)
        if len(fractions.classes) == 1:
            unmeasured = "all cells are of one class: there is no boundary to measure"
        if not unmeasured:
            boundary = {
                "dimension": dynamics.boundary_dimension(labels, boxes=boxes),
                "entropy": dynamics.basin_entropy(labels, box=boxes),
            }
            if len(set(fractions.classes) - {REJECTED}) >= 3:
                boundary["wada"] = dynamics.wada(labels, boxes=boxes)
    found = {"fractions": fractions, **boundary}
    measured = {name: one.to_dict() for name, one in found.items()}
    write_json(own.output, {"computed_from": origin, **measured})
    for label, share, (low, high) in zip(
        fractions.classes, fractions.fractions, fractions.intervals, strict=True
    ):
        print(f"class {label:>3}  {share:7.2%}  [{low:.2%}, {high:.2%}]")
    if boundary:
        _print_boundary(**boundary)
    else:
        print(unmeasured)
    warn(warning for one in found.values() for warning in one.warnings)
    print(own.output)


def _print_boundary(entropy: BasinEntropy, dimension: BoundaryDimension, wada: Wada | None = None) -> None:
    boxes, shares = dimension.origin["boxes"], [""] * len(entropy.entropy)
    if wada is not None:
        shares = [f"{share:14.2%}" for share in wada.fractions]
    print(f"{'box':>9}  basin entropy  boundary entropy (nats){'  all classes' if wada else ''}")
    for box, inner, boundary, share in zip(
        boxes, entropy.entropy, entropy.boundary_entropy, shares, strict=True
    ):
        print(f"{box:>9}  {inner:13.4f}  {boundary:23.4f}{share}")
    if dimension.interval is not None:
        (low, high), sides = dimension.interval, dimension.fit.sides
        print(
            f"boundary dimension {dimension.value:.3f}  [{low:.3f}, {high:.3f}]  "
            f"over {sides[0]:g} to {sides[-1]:g} spacings between cells"
        )
    if wada is not None:
        print(f"basins: {wada.reading}")


def _boxes(shape: tuple[int, ...], asked: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The sides that are asked for; else such as double, and why not where the plane has no room for any.

    They begin with 5 cells, below which cells cut structure off, where the plane has room for enough of these.
    """
    from denoscope.dynamics.boundaries.label_plane import doubling_boxes

    if asked:
        return asked, ""
    try:
        sides = doubling_boxes(shape)
    except UserError as error:
        return (), f"boundary: not measured, {error}; or name --boxes"
    return sides[2:] if len(sides) >= 2 + LEAST_BOXES else sides, ""


def _plane_in(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The labels [ny, nx] in a file of either kind, and what is known of where they come from."""
    from denoscope.foundation import checkpoint, tensor_files

    origin = {"plane": str(path)}
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise UserError(f"cannot read {path}: {found}; name a plane of labels, {PLANES}")
    if path.suffix != ".npz":
        return tensor_files.load(path).numpy(), origin
    stored = checkpoint.read(path)
    if "label" not in stored or stored["label"].dims != ("y", "x"):
        held = [f"{name} ({', '.join(map(str, array.dims))})" for name, array in stored.data_vars.items()]
        told = ", ".join(held[:TOLD]) + (f" and {len(held) - TOLD} more" if held[TOLD:] else "")
        raise UserError(f"{path} holds no plane of labels but {told or 'nothing'}; name one, {PLANES}")
    if not stored["computed"].all():
        raise UserError(f"{path} is not finished; go on with it: denoscope basins map --resume")
    return stored["label"].to_numpy(), origin | {"map": stored.attrs.get(checkpoint.IDENTITY)}


@dataclass(frozen=True)
class UncertaintyFlags(Keeping, Pictured):
    """At how many points of the plane it is asked, how far around each, and where the result goes."""

    epsilons: tuple[float, ...] = option(
        (0.1, 0.3, 1.0, 3.0, 10.0), "Distances (L2) at which a neighbour of each point is looked at."
    )
    points: int = option(400, "Points drawn at random from the plane.", at_least(2))
    output: Path = option(
        Path("uncertainty.json"), "The file of the exponent, with what it was computed from.", JSON
    )
    kept: Path = option(Path("uncertainty.npz"), "The file in which the labels are kept as they come.", NPZ)


def _uncertainty(settings: Settings, own: UncertaintyFlags) -> None:
    import numpy as np

    from denoscope import basins, dynamics, figures

    inference, asked, seed = settings.inference, settings.classifier, settings.system.seed
    with own.at_work(inference, "uncertainty", unit="label", kept=own.kept) as checkpoint:
        denoiser = load(settings)
        plane = plane_of(settings, denoiser.shape)
        low, high = (np.array([end(plane.coords[axis]) for axis in "uv"]) for end in (np.min, np.max))
        found = dynamics.uncertainty_exponent(
            basins.label_of(
                denoiser,
                plane,
                steps=inference.num_steps,
                classifier=asked.classifier_weights or "lenet",
                reject=asked.reject,
                lanes=inference.lanes,
                noise_seed=seed,
                streams=checkpoint.streams,
            ),
            np.random.default_rng(seed).uniform(low, high, (own.points, 2)),
            own.epsilons,
            seed=seed,
            batch_size=inference.batch_size,
            checkpoint=checkpoint,
        )
    write_json(own.output, found.to_dict())
    own.draw(figures.draw_uncertainty, found)
    for epsilon, share, (least, most) in zip(
        found.epsilons, found.fractions, found.fraction_intervals, strict=True
    ):
        print(f"epsilon {epsilon:<8g} uncertain {share:7.2%}  [{least:.2%}, {most:.2%}]")
    if found.interval is not None:
        least, most = found.interval
        print(f"uncertainty exponent {found.value:.3f}  [{least:.3f}, {most:.3f}]")
    warn(found.warnings)
    own.tell()


VERBS: dict[str, Verb] = {
    "basins map": Verb(
        _map,
        "Which class each noise of a plane becomes, with confidence and margin.",
        CLASSIFIED_PLANE,
        MapFlags,
    ),
    "dynamics basins": Verb(
        _basins,
        "Shares of the classes on a plane, entropy and dimension of the boundaries between them.",
        {"inference": "overwrite"},
        BasinsFlags,
    ),
    "dynamics uncertainty": Verb(
        _uncertainty,
        "How fast the share of noises whose class is uncertain falls with the distance to the next: the uncertainty exponent.",
        CLASSIFIED_PLANE,
        UncertaintyFlags,
    ),
    "dynamics verdict": Verb(
        _verdict,
        "Whether a plane of classes shows a fractal boundary, a smooth one, or noise.",
        {"inference": "overwrite"},
        VerdictFlags,
    ),
}
