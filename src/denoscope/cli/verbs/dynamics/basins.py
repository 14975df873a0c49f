"""`denoscope dynamics basins`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.label_file import LabelFlags, read_plane
from denoscope.cli.output import JSON, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import Rule, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import xarray

    from denoscope.dynamics.boundaries.basin_entropy import BasinEntropy
    from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
    from denoscope.dynamics.boundaries.wada import Wada

MINIMUM_BOXES = 3
"""The number of box sizes that the fit of a dimension needs."""
SIDES: Rule = (
    f"at least {MINIMUM_BOXES} different integers of at least 2",
    lambda sides: not sides or (len(set(sides)) >= MINIMUM_BOXES and min(sides) >= 2),
)


@dataclass(frozen=True)
class BasinsFlags(LabelFlags):
    """With which boxes the boundary is measured."""

    boxes: tuple[int, ...] = option(
        (), "Sides of the boxes in cells; by default chosen to suit the plane.", SIDES
    )
    output: Path = option(Path("basins.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, flags: BasinsFlags) -> None:
    with flags.reserved(settings.inference):
        from denoscope import dynamics

        labels, provenance = read_plane(flags.path)
        fractions = dynamics.basin_fractions(labels)
        boxes, not_measured = _boxes(labels.shape, flags.boxes)
        if len(fractions.classes) == 1:
            not_measured = "all cells are of one class: there is no boundary to measure"
        boundary = {} if not_measured else _boundary(labels, fractions.classes, boxes)
    results = {"fractions": fractions, **boundary}
    content = {name: result.to_dict() for name, result in results.items()}
    write_measured(flags.output, provenance, content)
    for label, share, (low, high) in zip(
        fractions.classes, fractions.fractions, fractions.intervals, strict=True
    ):
        print(f"class {label:>3}  {share:7.2%}  [{low:.2%}, {high:.2%}]")
    if boundary:
        _print_boundary(**boundary)
    else:
        print(not_measured)
    warn(warning for result in results.values() for warning in result.warnings)
    print(flags.output)


def _boundary(labels: np.ndarray | xarray.DataArray, classes: Any, boxes: tuple[int, ...]) -> dict[str, Any]:
    """The measures of the boundary; Wada's where three basins could meet."""
    from denoscope import dynamics
    from denoscope.models.classifier.labels import REJECTED

    results: dict[str, Any] = {
        "dimension": dynamics.boundary_dimension(labels, boxes=boxes),
        "entropy": dynamics.basin_entropy(labels, box=boxes),
    }
    if len(set(classes) - {REJECTED}) >= 3:
        results["wada"] = dynamics.wada(labels, boxes=boxes)
    return results


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


def _boxes(shape: tuple[int, ...], requested: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The sides of the boxes; if the plane is too small for enough of them, no sides and the reason.

    By default the sides double. They start at 5 cells if enough boxes fit, because smaller boxes do not resolve
    structure.
    """
    from denoscope.dynamics.boundaries.label_plane import doubling_boxes

    if requested:
        return requested, ""
    try:
        sides = doubling_boxes(shape)
    except UserError as error:
        return (), f"boundary: not measured, {error}; or name --boxes"
    return sides[2:] if len(sides) >= 2 + MINIMUM_BOXES else sides, ""


VERB = Verb(
    run,
    "Measure the shares of the classes on a plane, and entropy and dimension of the boundaries between them.",
    ARRAYS,
    BasinsFlags,
    arguments={"box": "boxes"},
)
