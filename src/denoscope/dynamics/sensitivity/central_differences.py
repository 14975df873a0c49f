"""Central differences, as a check of derivatives that does not rely on automatic differentiation."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap

TOLERANCE = {torch.float32: 0.05, torch.float64: 1e-4}
"""The relative difference between a derivative and a central difference above which there is a warning."""


def separation(x: torch.Tensor) -> float:
    """The h of central differences: ε^(1/3) with the dtype's ε, times the root mean square of x (1 if x is 0)."""
    return torch.finfo(x.dtype).eps ** (1 / 3) * root_mean_square(x)


def root_mean_square(x: torch.Tensor) -> float:
    """The root mean square of a state; 1 if the state is 0."""
    return float(x.double().square().mean().sqrt()) or 1.0


def difference_errors(flow: DenoisingMap, x_T: torch.Tensor, directions: torch.Tensor) -> np.ndarray:
    """‖Jv − Δ‖/‖Jv‖ [k] for each row v of `directions`, with Δ = (Φ(x_T + hv) − Φ(x_T − hv))/2h and Φ the map itself."""
    h = separation(x_T)
    above, below = (flow(x_T + sign * h * directions).double() for sign in (1, -1))
    image = flow.push(x_T, directions).double()
    error, size = (part.flatten(1).norm(dim=1) for part in (image - (above - below) / (2 * h), image))
    return (error / size.clamp(min=torch.finfo(torch.float64).tiny)).cpu().numpy()


def difference_warnings(errors: np.ndarray | None, dtype: torch.dtype) -> list[str]:
    """A warning if derivatives and central differences disagree by more than rounding explains."""
    allowed = TOLERANCE.get(dtype, max(TOLERANCE.values()))
    if errors is None or (errors <= allowed).all():
        return []
    return [
        f"derivatives and central differences differ by up to {errors.max():.1e} (relative): the map has a kink nearby, for "
        "example where its scheduler clips, or is dominated by rounding; the exponents are only as accurate as that"
    ]
