"""How the perturbed trajectories of a recording separate from their base."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from denoscope.cluster.connection import check_client
from denoscope.dynamics.trajectories.divergence_of import Measured, divergence_from
from denoscope.dynamics.trajectories.recorded_pairs import bases_of, check_array, places_of
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.spelling import on_command_line
from denoscope.foundation.validation import parse_real
from denoscope.recording.opening import parse_recording
from denoscope.recording.recording import Recording

if TYPE_CHECKING:
    import xarray
    from distributed import Client

LOGGER = logging.getLogger(__name__)


@calls_checked
def divergence(
    recording: Recording | str | os.PathLike[str],
    *,
    threshold: float = 2.0,
    layers: str | Sequence[str] | None = None,
    cluster: Client | None = None,
    allow_different_devices: bool = False,
) -> xarray.Dataset:
    """The separation of every perturbed trajectory of a recording from its base, as `divergence_of` measures it.

    The places are x_t, the estimate of x_0 if it was recorded (`extract_estimates`) as "x_0_estimate", and the recorded
    layers. Steps whose states were not recorded are NaN. `usable` compares with the noise floor of the recording
    (attribute `noise_floor`, see `denoscope verify precision --path`); without one all is usable and a warning says so.

    Reads one sample of one array at a time, so that memory does not grow with the number of samples.

    Args:
        recording: a recording of one or several sets of noises made by `noise.perturbed`, or its path.
        threshold: factor of the separation in x_T from which a pair counts as diverged.
        layers: one address or several; by default all that were recorded.
        cluster: a client of workers, a dask.distributed.Client, each of which reads one array of the recording at a time,
            under the same path.
        allow_different_devices: let workers with different processors share the work.

    Raises: UserError if the recording has no perturbed noises, lacks a layer or a base, is not finite, or is damaged; also
        if a worker reads another recording.
    """
    parse_real(threshold, "threshold", above=1)
    recording = parse_recording(recording)
    check_client(cluster, allow_different_devices=allow_different_devices)
    bases, places = bases_of(recording), places_of(recording, layers)
    measured: Measured | None = None
    if cluster is not None:
        from denoscope.dynamics.trajectories.cluster_divergence import measured_by

        measured = measured_by(
            cluster, recording, list(places), allow_different_devices=allow_different_devices
        )
    else:
        for place in (None, *places):
            check_array(recording, place)
    result = divergence_from(
        recording.sequence,
        bases,
        places,
        threshold=threshold,
        noise_floor=recording.attrs.get("noise_floor", {}).get("per_state_l2"),
        measured=measured,
    )
    warnings = result.attrs["warnings"]
    if "noise_floor" not in recording.attrs:
        stored = "" if recording.path else "record to a store, then "
        advice = f"{stored}denoscope verify precision --path {recording.path or 'RUN.zarr'}"
        missing = f"no noise floor was measured: {advice}"
        if not on_command_line():  # the command shows all warnings of the result
            LOGGER.warning(missing)
        warnings = [missing, *warnings]
    return result.assign_attrs(recording.origin | {"threshold": threshold, "warnings": warnings})
