"""Figures: each `draw_*` draws one result on a given matplotlib axis and returns the axis.

>>> figure, ax = ds.figures.plots.figure()
>>> ds.figures.draw_divergence(ax, ds.dynamics.divergence(recording))
>>> ds.figures.plots.save(figure, "divergence.png")

`plots` has figures, files and planes of classes, `images` has tensors as pictures.
"""

import typing as _typing

from denoscope.foundation.lazy_names import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from denoscope.figures import images as images
    from denoscope.figures import plots as plots
    from denoscope.figures.boundaries import draw_boundary_dimension as draw_boundary_dimension
    from denoscope.figures.boundaries import draw_uncertainty as draw_uncertainty
    from denoscope.figures.decisions import draw_commitment as draw_commitment
    from denoscope.figures.decisions import draw_entropy as draw_entropy
    from denoscope.figures.decisions import draw_turn_distance as draw_turn_distance
    from denoscope.figures.decisions import draw_u_turn as draw_u_turn
    from denoscope.figures.geometry import draw_distances as draw_distances
    from denoscope.figures.geometry import draw_participation as draw_participation
    from denoscope.figures.geometry import draw_path as draw_path
    from denoscope.figures.geometry import draw_similarity as draw_similarity
    from denoscope.figures.geometry import draw_speed as draw_speed
    from denoscope.figures.loops import draw_correlation_sum as draw_correlation_sum
    from denoscope.figures.loops import draw_lyapunov as draw_lyapunov
    from denoscope.figures.loops import draw_orbit as draw_orbit
    from denoscope.figures.loops import draw_orbit_diagram as draw_orbit_diagram
    from denoscope.figures.loops import draw_recurrence as draw_recurrence
    from denoscope.figures.refinements import RefinementFrames as RefinementFrames
    from denoscope.figures.refinements import save_refinement as save_refinement
    from denoscope.figures.sensitivity import draw_basins as draw_basins
    from denoscope.figures.sensitivity import draw_divergence as draw_divergence
    from denoscope.figures.sensitivity import draw_expansion as draw_expansion
    from denoscope.figures.sensitivity import draw_exponents as draw_exponents
    from denoscope.figures.sensitivity import draw_growth as draw_growth
    from denoscope.figures.sensitivity import draw_sweep as draw_sweep
    from denoscope.figures.zooms import draw_zoom as draw_zoom
    from denoscope.figures.zooms import save_zoom as save_zoom

_SUBMODULES = ("images", "plots")

_MODULES = {
    "RefinementFrames": "refinements",
    "draw_basins": "sensitivity",
    "draw_boundary_dimension": "boundaries",
    "draw_commitment": "decisions",
    "draw_correlation_sum": "loops",
    "draw_distances": "geometry",
    "draw_divergence": "sensitivity",
    "draw_entropy": "decisions",
    "draw_expansion": "sensitivity",
    "draw_exponents": "sensitivity",
    "draw_growth": "sensitivity",
    "draw_lyapunov": "loops",
    "draw_orbit": "loops",
    "draw_orbit_diagram": "loops",
    "draw_participation": "geometry",
    "draw_path": "geometry",
    "draw_recurrence": "loops",
    "draw_similarity": "geometry",
    "draw_speed": "geometry",
    "draw_sweep": "sensitivity",
    "draw_turn_distance": "decisions",
    "draw_u_turn": "decisions",
    "draw_uncertainty": "boundaries",
    "draw_zoom": "zooms",
    "save_refinement": "refinements",
    "save_zoom": "zooms",
}
"""The module that defines each drawing."""

__all__ = sorted((*_SUBMODULES, *_MODULES))


# A picture of an image needs none of the measures, whose import takes seconds.
__getattr__ = _lazy_names(__name__, _MODULES, _SUBMODULES)


def __dir__() -> list[str]:
    return __all__
