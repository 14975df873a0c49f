"""A labelling by this process, or by the workers of a cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from denoscope.basins.labelling import Labelling
from denoscope.cluster.connection import check_client, check_uncompiled
from denoscope.foundation.checkpoint import Checkpoint

if TYPE_CHECKING:
    from distributed import Client


def shared_labelling(
    labelling: Labelling,
    client: Client | None,
    batch_size: int,
    checkpoint: Checkpoint,
    *,
    allow_different_devices: bool,
) -> AbstractContextManager[Labelling]:
    """The labelling or, with a client, one that denoises by its workers while the block runs.

    Raises: UserError if that is no client of Dask, or if a worker cannot take part.
    """
    check_client(client, allow_different_devices=allow_different_devices)
    checkpoint.check_free()
    if client is None:
        return nullcontext(labelling)
    check_uncompiled(labelling.fast)
    from denoscope.basins.cluster_labelling import shared_by

    return shared_by(
        client,
        labelling,
        batch_size,
        allow_different_devices=allow_different_devices,
        kept=checkpoint.how_to_continue,
    )
