"""The origin of derivatives of the denoising map: everything that determines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.recording import provenance


def origin_of(flow: DenoisingMap, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The model, its fingerprint, and all settings that determine numbers computed from a denoising map.

    Args:
        further: settings of the measure itself.
    """
    fingerprint = provenance.fingerprint(flow.denoiser, flow.loop, flow.condition)
    origin: dict[str, Any] = {"model": flow.denoiser.name, "fingerprint": fingerprint}
    if flow.readout:
        origin |= {"layer": flow.readout.layer.address, "step": flow.readout.step}
    if flow.loop.noise == "independent":
        origin["sample"] = flow.name  # from which that noise is drawn
    if flow.condition.inputs:
        # The fingerprint leaves out the condition: for a recording it is an input, like the noises.
        origin["condition_sha256"] = flow.condition.digest()
    return {**origin, **(further or {})}


def identity_of(origin: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an origin that determines the numbers: all of it but the model's name, with a flat fingerprint."""
    rest = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return {**origin["fingerprint"], **rest}
