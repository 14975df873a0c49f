"""When the samples of a recording are decided: the class of the estimate of x_0 at every step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from denoscope.config import SystemConfig
from denoscope.dynamics.trajectories.commitment_of import commitment_variables, single_class_warning
from denoscope.dynamics.trajectories.image_labels import LabelOf, parse_label_of
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.validation import parse_integer
from denoscope.models.classifier.labels import of_images
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.scheduler_steps import check_estimates
from denoscope.recording.completeness import check_finished
from denoscope.recording.opening import parse_recording
from denoscope.recording.recording import Recording
from denoscope.recording.replay import check_loop, denoiser_of, steps_again
from denoscope.storage.plan import ESTIMATES, IMAGES, as_array

if TYPE_CHECKING:
    import xarray


@arguments_checked
def commitment(
    recording: Recording | str | os.PathLike[str],
    *,
    denoiser: Denoiser | None = None,
    device: str = SystemConfig.device,
    label_of: LabelOf | None = None,
    batch_size: int = 8,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """The step in which each sample of a recording is decided, as `commitment_of` defines it.

    The estimates of x_0 are read if the recording holds those of every step (`extract_estimates`). Otherwise the samples
    are denoised again from their first recorded states, with the model, options and interventions of the recording;
    `same_bits` (sample) is whether that reproduces the recorded x_0 bit for bit.

    `label` (sample, step) is the class of the estimate made in a step, which belongs to the state before it;
    `final_label` (sample) that of x_0; `nonfinite` (sample) is whether x_0 is not finite; `computed` (sample) whether a
    sample is finished. `sigma` and `timestep` are coordinates along the steps.

    Args:
        recording: a recording with sequences, or its path.
        denoiser: the denoiser of the recording, if its estimates are missing and it cannot be loaded by its name.
        device: where the samples are denoised again.
        label_of: a function from images [n, C, H, W] to integers [n]; by default the bundled classifier of
            their shape.
        batch_size: samples that are read or denoised at once; does not change any bit.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if the recording is unfinished, damaged, without sequences, or made with a function or a tensor that
        no file holds; its scheduler makes no estimate of x_0; nothing labels its images; or the checkpoint exists.
    """
    recording = parse_recording(recording)
    parse_integer(batch_size, "batch_size", minimum=1)
    check_finished(recording)
    recording.check(*IMAGES)
    estimates = _estimates_of(recording, denoiser, device)
    label_of = parse_label_of(label_of, recording.final.shape[1:], recording.attrs["model"])
    with parse_checkpoint(checkpoint).open(_unlabelled(recording, label_of, batch_size)) as work:
        samples = work.data.sizes["sample"]
        work.run(_label_samples(estimates, label_of, work.data, batch_size), samples)
        work.data = _decided(work.data, _recorded_timesteps(recording))
    return work.data


@dataclass(frozen=True)
class _Estimated:
    """Labels [n, step] of the estimates of some samples, whether they reproduce x_0 [n], and the noise levels [step]."""

    labels: np.ndarray
    same_bits: np.ndarray
    sigma: np.ndarray


class _Estimates(Protocol):
    """A source of estimates: the recording, or samples that are denoised again."""

    def labels(self, rows: np.ndarray, label_of: LabelOf) -> _Estimated: ...


@dataclass(frozen=True)
class _RecordedEstimates:
    """The estimates that a recording holds."""

    recording: Recording

    def labels(self, rows: np.ndarray, label_of: LabelOf) -> _Estimated:
        estimates = self.recording.estimates[rows].to_numpy()
        labels = _labels_of(estimates.reshape(-1, *estimates.shape[2:]), label_of)
        sigma = self.recording.dataset["sigma"].to_numpy()
        return _Estimated(labels.reshape(len(rows), -1), np.ones(len(rows), bool), sigma)


@dataclass(frozen=True)
class _RepeatedEstimates:
    """The estimates of samples that are denoised again."""

    recording: Recording
    denoiser: Denoiser

    def labels(self, rows: np.ndarray, label_of: LabelOf) -> _Estimated:
        labels, sigma = [], []
        names = self.recording.dataset["sample"].to_numpy()[rows].tolist()
        for step in steps_again(self.recording, names, self.denoiser):
            assert step.x_0_estimate is not None
            labels.append(of_images(label_of, step.x_0_estimate.float().cpu()))
            sigma.append(step.sigma)
            x_0 = step.x_after
        stored = self.recording.final[rows].to_numpy()
        pairs = zip(as_array(x_0, stored.dtype), stored, strict=True)
        same = np.array([repeated.tobytes() == recorded.tobytes() for repeated, recorded in pairs])
        return _Estimated(np.stack(labels, axis=1), same, np.array(sigma))


def _estimates_of(recording: Recording, denoiser: Denoiser | None, device: str) -> _Estimates:
    steps = _steps(recording)  # refuses a recording of final images before the model is loaded
    if ESTIMATES in recording.dataset and recording.dataset.sizes["step"] == steps:
        return _RecordedEstimates(recording)
    check_loop(recording)
    denoiser = denoiser_of(recording, device=device) if denoiser is None else denoiser
    check_denoiser(denoiser)
    check_estimates(denoiser.new_scheduler(steps), denoiser.shape)
    return _RepeatedEstimates(recording, denoiser)


def _recorded_timesteps(recording: Recording) -> np.ndarray | None:
    """The timestep of every step; None if the recording has those of some steps only."""
    dataset = recording.dataset
    whole = "timestep" in dataset.coords and dataset.sizes["step"] == _steps(recording)
    return dataset["timestep"].to_numpy() if whole else None


def _steps(recording: Recording) -> int:
    return recording.sequence.sizes["state"] - 1


def _unlabelled(recording: Recording, label_of: LabelOf, batch_size: int) -> xarray.Dataset:
    """The result before any work, with the labels of x_0, which identify label_of."""
    import xarray

    samples, steps = recording.dataset["sample"].to_numpy(), _steps(recording)
    labels, finite = [], []
    for first in range(0, len(samples), batch_size):
        images = recording.final[first : first + batch_size].to_numpy()
        labels.append(_labels_of(images, label_of))
        finite.append(np.isfinite(images).reshape(len(images), -1).all(1))
    final = np.concatenate(labels)
    identity = {
        "inputs": recording.attrs.get("inputs_sha256", recording.attrs.get("created")),
        "labels of x_0": final.tolist(),
        **recording.origin["fingerprint"],
    }
    return xarray.Dataset(
        {
            "label": (("sample", "step"), np.zeros((len(samples), steps), final.dtype)),
            "final_label": ("sample", final),
            "nonfinite": ("sample", ~np.concatenate(finite)),
            "same_bits": ("sample", np.zeros(len(samples), bool)),
            "computed": ("sample", np.zeros(len(samples), bool)),
        },
        coords={
            "sample": [str(name) for name in samples],
            "step": np.arange(steps),
            "sigma": ("step", np.full(steps, np.nan)),
        },
        attrs={**recording.origin, IDENTITY: identity},
    )


def _labels_of(images: np.ndarray, label_of: LabelOf) -> np.ndarray:
    return of_images(label_of, torch.from_numpy(images).float())


def _label_samples(
    estimates: _Estimates, label_of: LabelOf, data: xarray.Dataset, batch_size: int
) -> Iterator[int]:
    """Fill in the samples that are not computed yet, and yield the number of finished samples after each batch."""
    computed = data["computed"].values
    pending = np.flatnonzero(~computed)
    for first in range(0, len(pending), batch_size):
        rows = pending[first : first + batch_size]
        estimated = estimates.labels(rows, label_of)
        data["label"].values[rows], data["same_bits"].values[rows] = estimated.labels, estimated.same_bits
        data["sigma"].values[:] = estimated.sigma
        computed[rows] = True
        yield int(computed.sum())


def _decided(data: xarray.Dataset, timesteps: np.ndarray | None) -> xarray.Dataset:
    """The labels, and when each sample is decided."""
    label, final = data["label"].to_numpy(), data["final_label"].to_numpy()
    warnings = [*_warnings(data), *single_class_warning(final)]
    result = data.assign(commitment_variables(label, final, data["sigma"].to_numpy()))
    if timesteps is not None:
        result = result.assign_coords(timestep=("step", timesteps))
    return result.assign_attrs(warnings=warnings)


def _warnings(data: xarray.Dataset) -> list[str]:
    samples, lost = data.sizes["sample"], int(data["nonfinite"].sum())
    warnings = []
    if lost:
        warnings.append(f"{lost} of {samples} samples became NaN or infinite and count as class −1")
    if different := samples - int(data["same_bits"].sum()):
        warnings.append(f"{different} of {samples} samples have other bits of x_0 than the recording")
    return warnings
