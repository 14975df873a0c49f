"""Drawings of spectra: singular values of the map, eigenvalues of data, and what a scheduler makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.sensitivity.spectrum import Spectrum
from denoscope.dynamics.trajectories.covariance_spectrum import CovarianceSpectrum
from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GAINS = 5
"""How many eigenvectors `draw_gains` shows, evenly spread over their ranks."""
TRUSTED_RESIDUAL = 0.05
"""The relative residual of a singular value above which its exponent is drawn hollow."""


@calls_checked
def draw_spectrum(ax: Axes, result: Spectrum) -> Axes:
    """Draw the exponents of one `spectrum` or `full_spectrum` over their rank, and a dashed line at 0.

    Hollow markers have relative residuals above 5 %.
    """
    check_drawing(ax, result, "spectrum", Spectrum)
    ranks = np.arange(1, len(result.exponents) + 1)
    ax.plot(ranks, result.exponents, "-", color=style.CURVES[0], linewidth=style.THIN)
    trusted = ~(np.asarray(result.residuals, float) > TRUSTED_RESIDUAL)
    for chosen, face in ((trusted, style.CURVES[0]), (~trusted, "white")):
        ax.plot(
            ranks[chosen],
            result.exponents[chosen],
            "o",
            color=style.CURVES[0],
            markerfacecolor=face,
            markersize=style.MARKER,
        )
    style.reference(ax, y=0)
    ticks.whole(ax.xaxis)
    ax.set(xlabel="rank", ylabel="exponent of the whole map (ln)")
    return ax


@calls_checked
def draw_eigenvalues(ax: Axes, result: CovarianceSpectrum) -> Axes:
    """Draw the eigenvalues of a `covariance_spectrum` over their rank, logarithmically; those that are 0 are left out.

    Raises: UserError if all are 0.
    """
    check_drawing(ax, result, "covariance_spectrum", CovarianceSpectrum)
    positive = result.eigenvalues > 0
    if not positive.any():
        raise UserError("all eigenvalues are 0: the images do not vary")
    ranks = np.arange(1, len(positive) + 1)
    ax.plot(ranks[positive], result.eigenvalues[positive], ".-", color=style.CURVES[0], markersize=style.MARKER,
            linewidth=style.THIN)  # fmt: skip
    ticks.whole(ax.xaxis)
    ax.set(xlabel="rank", ylabel="eigenvalue of the covariance")
    ticks.logarithmic(ax, "y")
    return ax


@calls_checked
def draw_gains(ax: Axes, result: GaussianTheory) -> Axes:
    """Draw how a difference of x_T along eigenvectors of Gaussian data grows over the steps (`gaussian_theory`).

    Five eigenvectors, evenly spread over the ranks, named by their eigenvalue λ.
    """
    check_drawing(ax, result, "gaussian_theory", GaussianTheory)
    count = len(result.eigenvalues)
    for number, k in enumerate(
        dict.fromkeys(np.linspace(0, count - 1, min(count, MOST_GAINS)).astype(int).tolist())
    ):
        color, dashes = style.look(number)
        ax.plot(np.abs(result.gains[k]), linestyle=dashes, color=color, linewidth=style.LINE,
                label=f"λ = {result.eigenvalues[k]:.3g}")  # fmt: skip
    ticks.whole(ax.xaxis)
    ax.set(xlabel="denoising step", ylabel="growth of a difference")
    ticks.logarithmic(ax, "y")
    style.legend(ax)
    return ax
