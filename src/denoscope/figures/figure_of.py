"""The figure of any result: of a measure, a map, a zoom, patching or a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray

from denoscope.config import SystemConfig
from denoscope.dynamics.boundaries.basin_entropy import BasinEntropy
from denoscope.dynamics.boundaries.basin_fractions import BasinFractions
from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent
from denoscope.dynamics.boundaries.verdict import Verdict
from denoscope.dynamics.boundaries.wada import Wada
from denoscope.dynamics.loops.correlation_dimension import CorrelationDimension
from denoscope.dynamics.loops.fixed_points import FixedPoints
from denoscope.dynamics.loops.lyapunov import Lyapunov
from denoscope.dynamics.loops.orbit_diagram import OrbitDiagram
from denoscope.dynamics.loops.periodicity import Periodicity
from denoscope.dynamics.loops.recurrence import Recurrence
from denoscope.dynamics.loops.zero_one import ZeroOne
from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.sensitivity.epsilon_sweep import EpsilonSweep
from denoscope.dynamics.sensitivity.local_expansion import LocalExpansion
from denoscope.dynamics.sensitivity.spectrum import Spectrum
from denoscope.dynamics.trajectories.covariance_spectrum import CovarianceSpectrum
from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.dynamics.trajectories.participation import Participation
from denoscope.dynamics.trajectories.path_geometry import PathGeometry
from denoscope.dynamics.trajectories.similarity import SimilarityMatrix
from denoscope.dynamics.trajectories.trajectory_distances import TrajectoryDistances
from denoscope.figures import plots, style
from denoscope.figures.drawings import (
    basin_statistics,
    boundaries,
    decisions,
    eigenvalues,
    estimates,
    geometry,
    loops,
    maps,
    patching,
    recordings,
    sensitivity,
    zooms,
)
from denoscope.figures.fitted_labels import fit_labels, title_in_lines
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe
from denoscope.recording.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[..., Any]

RESULTS: dict[type[Result], tuple[Draw, ...]] = {
    BasinEntropy: (basin_statistics.draw_basin_entropy,),
    BasinFractions: (basin_statistics.draw_basin_fractions,),
    BoundaryDimension: (boundaries.draw_boundary_dimension,),
    CorrelationDimension: (loops.draw_correlation_sum,),
    CovarianceSpectrum: (eigenvalues.draw_eigenvalues,),
    EpsilonSweep: (sensitivity.draw_sweep,),
    FixedPoints: (loops.draw_fixed_points,),
    GaussianTheory: (eigenvalues.draw_gains,),
    LocalExpansion: (sensitivity.draw_expansion,),
    Lyapunov: (loops.draw_convergence,),
    OrbitDiagram: (loops.draw_orbit_diagram,),
    Participation: (geometry.draw_participation,),
    PathGeometry: (geometry.draw_path, geometry.draw_turns),
    Periodicity: (loops.draw_periodicity,),
    Recurrence: (loops.draw_recurrence,),
    SimilarityMatrix: (geometry.draw_similarity,),
    Spectrum: (eigenvalues.draw_spectrum,),
    TrajectoryDistances: (geometry.draw_distances,),
    UncertaintyExponent: (boundaries.draw_uncertainty,),
    Verdict: (basin_statistics.draw_verdict,),
    Wada: (basin_statistics.draw_wada,),
    ZeroOne: (loops.draw_zero_one,),
    Estimate: (estimates.draw_estimate,),  # after those that are estimates, too
}
"""The panels of the figure of each kind of result."""

DATASETS: tuple[tuple[tuple[str, ...], tuple[Draw, ...]], ...] = (
    (("decade_dimension", "half_width"), (zooms.draw_zoom,)),
    (("label", "u", "v"), (maps.draw_basins,)),
    (("growth", "u", "v"), (maps.draw_growth,)),
    (("moved", "layer", "step"), (patching.draw_patch,)),
    (("commitment_step", "decided"), (decisions.draw_commitment, decisions.draw_entropy)),
    (("turn_distance", "probability"), (decisions.draw_u_turn, decisions.draw_turn_distance)),
    (("relative", "separation"), (sensitivity.draw_divergence,)),
)
"""The variables by which a dataset is known, and the panels of its figure."""
COLORED = (maps.draw_basins, basin_statistics.draw_basin_fractions)
"""The drawings that take the colours of classes."""
MOST_PANELS = 12


class Panel(NamedTuple):
    """A part of a figure: the name of a result, or "", the result, and what draws it."""

    name: str
    result: Any
    draw: Draw


@arguments_checked
def draw(result: Any, *, colors: Sequence[str] = SystemConfig.class_colors) -> Figure:
    """The figure of a result in the style of `figures.style`, one column wide, or two if it has several panels.

    >>> figure = ds.figures.draw(ds.dynamics.divergence(recording))
    >>> ds.figures.plots.save(figure, "divergence.pdf")

    Args:
        result: what a measure, `basins.map`, `basins.zoom`, `patch` or `open` returns, or a mapping to such results, each of
            which gets the panels that it has alone, under its name.
        colors: those of the classes.

    Raises: UserError if nothing is drawn of it, such as of a result without points, or the panels are more than 12.
    """
    panels = panels_in(result)
    if not 1 <= len(panels) <= MOST_PANELS:
        names = ", ".join(dict.fromkeys(panel.name for panel in panels))
        raise UserError(
            f"there are {len(panels)} panels to draw; allowed: 1 to {MOST_PANELS}; choose some of {names}"
        )
    return drawn(panels, colors)


def panels_in(result: Any) -> list[Panel]:
    """The panels of a result, or of each result in a mapping.

    Raises: UserError as `panels_of` does.
    """
    named = result if isinstance(result, Mapping) and not isinstance(result, xarray.Dataset) else {"": result}
    return [Panel(str(name), one, draw) for name, one in named.items() for draw in panels_of(one)]


def drawn(panels: Sequence[Panel], colors: Sequence[str]) -> Figure:
    """The figure of panels: one column wide, or two if there are several."""
    columns = 1 if len(panels) == 1 else 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    figure, axes = plots.figure("single" if columns == 1 else "double", rows=rows, columns=columns)
    places = [axes] if len(panels) == 1 else list(axes.flat)
    for panel, ax in zip(panels, places, strict=False):
        panel.draw(ax, panel.result, **({"colors": colors} if panel.draw in COLORED else {}))
        if panel.name:
            title = f"{panel.name}  {ax.get_title(loc='left')}".strip()
            style.title(ax, title_in_lines(title, style.size_in_points(ax)[0]))
    for ax in places[len(panels) :]:
        ax.remove()
    figure.draw_without_rendering()  # what cannot be drawn fails here, and not when the figure is saved
    fit_labels(figure)
    return figure


def panels_of(result: Any) -> tuple[Draw, ...]:
    """The drawings of a result, one for each panel of its figure.

    Raises: UserError if it is nothing that is drawn.
    """
    if isinstance(result, Recording):
        return _panels_of_recording(result)
    if isinstance(result, xarray.Dataset):
        known = (panels for names, panels in DATASETS if set(names) <= set(map(str, result.variables)))
    else:
        known = (panels for kind, panels in RESULTS.items() if isinstance(result, kind))
    if (panels := next(known, None)) is None:
        raise UserError(
            f"result is {describe(result)}, of which nothing is drawn; allowed: what a measure, basins.map, basins.zoom, "
            "patch or open returns"
        )
    return panels


def _panels_of_recording(recording: Recording) -> tuple[Draw, ...]:
    panels: list[Draw] = [recordings.draw_images]
    if "sequence" in recording.dataset:
        panels.append(recordings.draw_sequence)
    if recording.states:
        panels.append(recordings.draw_layer)
    return tuple(panels)
