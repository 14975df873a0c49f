"""A labelling by this process, or by the workers of a cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from denoscope.basins.labelling import Labelling
from denoscope.cluster.connection import check_client, check_uncompiled

if TYPE_CHECKING:
    from distributed import Client


def shared_labelling(
    labelling: Labelling,
    client: Client | None,
    batch_size: int,
    *,
    allow_different_devices: bool,
    kept: str,
) -> AbstractContextManager[Labelling]:
    """The labelling or, with a client, one that denoises by its workers while the block runs.

    Args:
        batch_size: of a unit, rounded up to whole calls of the network.
        kept: what is kept if workers fail, and how the work goes on.

    Raises: UserError if that is no client of Dask, or if a worker cannot take part.
    """
    check_client(client, allow_different_devices=allow_different_devices)
    if client is None:
        return nullcontext(labelling)
    check_uncompiled(labelling.fast)
    from denoscope.basins.cluster_labelling import shared_by

    return shared_by(
        client, labelling, batch_size, allow_different_devices=allow_different_devices, kept=kept
    )
