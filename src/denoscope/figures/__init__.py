"""Figures: `draw(result)` is the figure of any result; each `draw_*` draws one result on a given axis and returns the axis.

>>> figure = ds.figures.draw(ds.dynamics.divergence(recording))
>>> ds.figures.plots.save(figure, "divergence.pdf")
>>> figure, ax = ds.figures.plots.figure("double")
>>> ds.figures.draw_divergence(ax, ds.dynamics.divergence(recording))

`plots` has figures and their files, `images` has tensors as pictures, `style` the colours, sizes and lines of
all figures. `read` returns the results in a file.
"""

import typing as _typing

from denoscope.foundation.lazy_names import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from denoscope.figures import images as images
    from denoscope.figures import plots as plots
    from denoscope.figures import style as style
    from denoscope.figures.drawings.basin_statistics import draw_basin_entropy as draw_basin_entropy
    from denoscope.figures.drawings.basin_statistics import draw_basin_fractions as draw_basin_fractions
    from denoscope.figures.drawings.basin_statistics import draw_verdict as draw_verdict
    from denoscope.figures.drawings.basin_statistics import draw_wada as draw_wada
    from denoscope.figures.drawings.boundaries import draw_boundary_dimension as draw_boundary_dimension
    from denoscope.figures.drawings.boundaries import draw_uncertainty as draw_uncertainty
    from denoscope.figures.drawings.decisions import draw_commitment as draw_commitment
    from denoscope.figures.drawings.decisions import draw_entropy as draw_entropy
    from denoscope.figures.drawings.decisions import draw_turn_distance as draw_turn_distance
    from denoscope.figures.drawings.decisions import draw_u_turn as draw_u_turn
    from denoscope.figures.drawings.eigenvalues import draw_eigenvalues as draw_eigenvalues
    from denoscope.figures.drawings.eigenvalues import draw_gains as draw_gains
    from denoscope.figures.drawings.eigenvalues import draw_spectrum as draw_spectrum
    from denoscope.figures.drawings.estimates import draw_estimate as draw_estimate
    from denoscope.figures.drawings.geometry import draw_distances as draw_distances
    from denoscope.figures.drawings.geometry import draw_participation as draw_participation
    from denoscope.figures.drawings.geometry import draw_path as draw_path
    from denoscope.figures.drawings.geometry import draw_similarity as draw_similarity
    from denoscope.figures.drawings.geometry import draw_speed as draw_speed
    from denoscope.figures.drawings.geometry import draw_turns as draw_turns
    from denoscope.figures.drawings.hidden_states import draw_attention as draw_attention
    from denoscope.figures.drawings.hidden_states import draw_channels as draw_channels
    from denoscope.figures.drawings.hidden_states import draw_components as draw_components
    from denoscope.figures.drawings.images import draw_contact_sheet as draw_contact_sheet
    from denoscope.figures.drawings.images import draw_strip as draw_strip
    from denoscope.figures.drawings.loops import draw_convergence as draw_convergence
    from denoscope.figures.drawings.loops import draw_correlation_sum as draw_correlation_sum
    from denoscope.figures.drawings.loops import draw_fixed_points as draw_fixed_points
    from denoscope.figures.drawings.loops import draw_lyapunov as draw_lyapunov
    from denoscope.figures.drawings.loops import draw_orbit as draw_orbit
    from denoscope.figures.drawings.loops import draw_orbit_diagram as draw_orbit_diagram
    from denoscope.figures.drawings.loops import draw_periodicity as draw_periodicity
    from denoscope.figures.drawings.loops import draw_recurrence as draw_recurrence
    from denoscope.figures.drawings.loops import draw_zero_one as draw_zero_one
    from denoscope.figures.drawings.maps import draw_basins as draw_basins
    from denoscope.figures.drawings.maps import draw_growth as draw_growth
    from denoscope.figures.drawings.patching import draw_patch as draw_patch
    from denoscope.figures.drawings.planes import draw_images_plane as draw_images_plane
    from denoscope.figures.drawings.planes import draw_plane as draw_plane
    from denoscope.figures.drawings.recordings import draw_images as draw_images
    from denoscope.figures.drawings.recordings import draw_layer as draw_layer
    from denoscope.figures.drawings.recordings import draw_sequence as draw_sequence
    from denoscope.figures.drawings.sensitivity import draw_divergence as draw_divergence
    from denoscope.figures.drawings.sensitivity import draw_expansion as draw_expansion
    from denoscope.figures.drawings.sensitivity import draw_exponents as draw_exponents
    from denoscope.figures.drawings.sensitivity import draw_sweep as draw_sweep
    from denoscope.figures.drawings.zooms import draw_zoom as draw_zoom
    from denoscope.figures.drawings.zooms import save_zoom as save_zoom
    from denoscope.figures.figure_of import draw as draw
    from denoscope.figures.refinements import RefinementFrames as RefinementFrames
    from denoscope.figures.refinements import save_refinement as save_refinement
    from denoscope.figures.result_files import read as read
    from denoscope.figures.sequence_film import save_sequences as save_sequences

_SUBMODULES = ("images", "plots", "style")

_MODULES = {
    "RefinementFrames": "refinements",
    "draw": "figure_of",
    "draw_attention": "drawings.hidden_states",
    "draw_basin_entropy": "drawings.basin_statistics",
    "draw_basin_fractions": "drawings.basin_statistics",
    "draw_basins": "drawings.maps",
    "draw_boundary_dimension": "drawings.boundaries",
    "draw_channels": "drawings.hidden_states",
    "draw_commitment": "drawings.decisions",
    "draw_components": "drawings.hidden_states",
    "draw_contact_sheet": "drawings.images",
    "draw_convergence": "drawings.loops",
    "draw_correlation_sum": "drawings.loops",
    "draw_distances": "drawings.geometry",
    "draw_divergence": "drawings.sensitivity",
    "draw_eigenvalues": "drawings.eigenvalues",
    "draw_entropy": "drawings.decisions",
    "draw_estimate": "drawings.estimates",
    "draw_expansion": "drawings.sensitivity",
    "draw_exponents": "drawings.sensitivity",
    "draw_fixed_points": "drawings.loops",
    "draw_gains": "drawings.eigenvalues",
    "draw_growth": "drawings.maps",
    "draw_images": "drawings.recordings",
    "draw_images_plane": "drawings.planes",
    "draw_layer": "drawings.recordings",
    "draw_lyapunov": "drawings.loops",
    "draw_orbit": "drawings.loops",
    "draw_orbit_diagram": "drawings.loops",
    "draw_participation": "drawings.geometry",
    "draw_patch": "drawings.patching",
    "draw_path": "drawings.geometry",
    "draw_periodicity": "drawings.loops",
    "draw_plane": "drawings.planes",
    "draw_recurrence": "drawings.loops",
    "draw_sequence": "drawings.recordings",
    "draw_similarity": "drawings.geometry",
    "draw_spectrum": "drawings.eigenvalues",
    "draw_speed": "drawings.geometry",
    "draw_strip": "drawings.images",
    "draw_sweep": "drawings.sensitivity",
    "draw_turn_distance": "drawings.decisions",
    "draw_turns": "drawings.geometry",
    "draw_u_turn": "drawings.decisions",
    "draw_uncertainty": "drawings.boundaries",
    "draw_verdict": "drawings.basin_statistics",
    "draw_wada": "drawings.basin_statistics",
    "draw_zero_one": "drawings.loops",
    "draw_zoom": "drawings.zooms",
    "read": "result_files",
    "save_refinement": "refinements",
    "save_sequences": "sequence_film",
    "save_zoom": "drawings.zooms",
}
"""The module that defines each drawing."""

__all__ = sorted((*_SUBMODULES, *_MODULES))


# A picture of an image needs none of the measures, whose import takes seconds.
__getattr__ = _lazy_names(__name__, _MODULES, _SUBMODULES)


def __dir__() -> list[str]:
    return __all__
