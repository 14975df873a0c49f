"""The Jacobians of steps, by this process or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from denoscope.cluster.connection import check_client
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.step_jacobian import StepJacobians, step_jacobian

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def shared_jacobians(
    flow: DenoisingMap,
    x_T: torch.Tensor,
    origin: Mapping[str, Any],
    client: Client | None,
    *,
    allow_different_devices: bool,
    kept: str,
) -> Iterator[tuple[StepJacobians, dict[str, Any]]]:
    """The Jacobians along the trajectory of x_T [1, C, H, W], and the origin of their numbers, while the block runs.

    Args:
        origin: that of this process's numbers.
        client: of the workers that compute them; None if this process does.
        kept: what is kept if workers fail, and how the work goes on.

    Raises: UserError if that is no client of Dask, or if a worker cannot take part.
    """
    check_client(client, allow_different_devices=allow_different_devices)
    if client is not None:
        from denoscope.dynamics.sensitivity.cluster_jacobians import jacobians_by

        with jacobians_by(
            client, flow, x_T, origin, allow_different_devices=allow_different_devices, kept=kept
        ) as shared:
            yield shared
        return

    def own(begin: int) -> Iterator[torch.Tensor]:
        for index, x in list(enumerate(flow.states(x_T)[:-1]))[begin:]:
            yield step_jacobian(flow, index, x)

    yield own, dict(origin)
