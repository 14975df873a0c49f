"""Derivatives of the denoising map beside central differences of the map itself."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.derivative import separation

AGREEING = {torch.float32: 0.05, torch.float64: 1e-4}
"""How far a derivative and a central difference may lie apart, relatively, before it is warned of."""


def difference_errors(flow: DenoisingMap, x_T: torch.Tensor, directions: torch.Tensor) -> np.ndarray:
    """‖Jv − Δ‖/‖Jv‖ [k] with Δ = (Φ(x_T + hv) − Φ(x_T − hv))/2h for each row v of `directions`, Φ the map itself."""
    h = separation(x_T)
    above, below = (flow(x_T + sign * h * directions).double() for sign in (1, -1))
    derived = flow.push(x_T, directions).double()
    apart, size = (part.flatten(1).norm(dim=1) for part in (derived - (above - below) / (2 * h), derived))
    return (apart / size.clamp(min=torch.finfo(torch.float64).tiny)).cpu().numpy()


def disagreeing(errors: np.ndarray | None, dtype: torch.dtype) -> list[str]:
    allowed = AGREEING.get(dtype, max(AGREEING.values()))
    if errors is None or (errors <= allowed).all():
        return []
    return [
        f"derivatives and central differences lie up to {errors.max():.1e} apart, relatively: the map has a kink near, such "
        f"as where its scheduler clips, or is rounded; trust exponents to that"
    ]
