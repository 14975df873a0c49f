"""When an image is decided: the class of the estimate of x_0 at every step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.config import SystemConfig
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.models.classifier.labels import DIGIT, classify_finite, of_images
from denoscope.models.denoiser import Denoiser, need_denoiser
from denoscope.models.schedulers import need_estimates
from denoscope.recording.recording import Recording
from denoscope.recording.replay import denoiser_of, need_finished, need_loop, opened, steps_again
from denoscope.storage.plan import ESTIMATES, IMAGES, as_array

if TYPE_CHECKING:
    import xarray

LabelOf = Callable[[torch.Tensor], Any]
"""Images [n, C, H, W] to whole numbers [n], −1 for what has no class."""
Labelled = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of some samples the labels [n, step] of their estimates, whether x_0 has the recording's bits [n], and σ [step]."""


def commitment(
    recording: Recording | str | os.PathLike[str],
    *,
    denoiser: Denoiser | None = None,
    device: str = SystemConfig.device,
    label_of: LabelOf | None = None,
    batch_size: int = 8,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """At which step each sample of a recording is decided: from when on the class of its x_0 estimate is the last one's.

    The estimates are the recording's own where it holds them of every step (`extract_estimates`). Otherwise the samples
    are denoised again from the first states that the recording holds, with its own model, options and interventions;
    `same_bits` (sample) says whether that came to the recording's x_0, bit for bit.

    `label` (sample, step) is the class of the estimate of x_0 made in a step, which belongs to the state before it;
    `final_label` (sample) that of x_0. `commitment_step` (sample) is the first step from which all labels are the final
    one, the number of steps where not even the last estimate is; `commitment_sigma` its noise level. `decided` (step) is
    the share of samples decided by then, with its 95 % Wilson interval. `entropy` (step) is that of the labels' shares,
    −Σ p ln p + (m − 1)/2n in nats, m classes seen among n samples: the second part is Miller and Madow's for the bias.
    `computed` (sample) is true for what is done.

    How to read it: the histogram of `commitment_step` shows when images are decided, often within few steps.
    When it misleads: early estimates are blurred means of many images, whose class is the classifier's guess; and a
    classifier without a reject class is never undecided. Few samples make the entropy too small even so corrected.

    Args:
        recording: with its sequences; or its path.
        denoiser: where estimates are missing and the recording's own cannot be loaded again by its name.
        device: where the recording's own denoises again.
        label_of: of images that are no digits; LeNet-5 unless given.
        batch_size: samples that are read or denoised at once; never changes a result.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if the recording is not finished, damaged or holds no sequence, a function or a tensor that no file holds was
        written into it, its scheduler makes no estimate of x_0, nothing can label it, or the checkpoint exists.

    Source: Miller, in Information Theory in Psychology (1955), for the entropy's bias; Biroli et al., Nature
        Communications 15, 9957 (2024), for the speciation that it shows.
    """
    recording = opened(recording)
    parse_integer(batch_size, "batch_size", minimum=1)
    need_finished(recording)
    labels_at: Callable[[np.ndarray, LabelOf], Labelled]
    recording.check(*IMAGES)
    if ESTIMATES in recording.dataset and recording.dataset.sizes["step"] == _steps(recording):
        labels_at = partial(_labels_stored, recording)
    else:
        need_loop(recording)
        denoiser = denoiser_of(recording, device=device) if denoiser is None else denoiser
        need_denoiser(denoiser)
        need_estimates(denoiser.new_scheduler(_steps(recording)), denoiser.shape)
        labels_at = partial(_labels_again, recording, denoiser)
    if label_of is None:
        label_of = digits_of(recording.final.shape[1:], recording.attrs["model"])
    with parse_checkpoint(checkpoint).open(_empty(recording, label_of, batch_size)) as file:
        label, same, sigma, computed = (
            file.data[name].values for name in ("label", "same_bits", "sigma", "computed")
        )
        pending = np.flatnonzero(~computed)
        for first in range(0, len(pending), batch_size):
            rows = pending[first : first + batch_size]
            label[rows], same[rows], sigma[:] = labels_at(rows, label_of)
            computed[rows] = True
            file.save()
            file.report(int(computed.sum()), len(computed))
        file.data = _decided(file.data)
    return file.data


def digits_of(shape: Sequence[int], name: str) -> LabelOf:
    """The digits that LeNet-5 sees in images of a shape, which must be its own; `name` says whose images."""
    if tuple(shape) != DIGIT:
        raise UserError(f"{name} makes images {list(shape)}, which LeNet-5 cannot label; give label_of=…")
    return lambda images: classify_finite(images).label


def _steps(recording: Recording) -> int:
    return recording.sequence.sizes["state"] - 1


def _empty(recording: Recording, label_of: LabelOf, batch_size: int) -> xarray.Dataset:
    """The result in which only x_0 have labels, which tell one function of images from another."""
    import xarray

    samples, steps = recording.dataset["sample"].to_numpy(), _steps(recording)
    labels, finite = [], []
    for first in range(0, len(samples), batch_size):
        part = recording.final[first : first + batch_size].to_numpy()
        labels.append(_labels_of(part, label_of))
        finite.append(np.isfinite(part).reshape(len(part), -1).all(1))
    final = np.concatenate(labels)
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
        attrs={
            **recording.origin,
            IDENTITY: {
                "inputs": recording.attrs.get("inputs_sha256", recording.attrs.get("created")),
                "labels of x_0": final.tolist(),
                **recording.origin["fingerprint"],
            },
        },
    )


def _labels_of(images: np.ndarray, label_of: LabelOf) -> np.ndarray:
    return of_images(label_of, torch.from_numpy(images).float())


def _labels_stored(recording: Recording, rows: np.ndarray, label_of: LabelOf) -> Labelled:
    """Those of the estimates that the recording holds."""
    estimates = recording.estimates[rows].to_numpy()
    labels = _labels_of(estimates.reshape(-1, *estimates.shape[2:]), label_of)
    return labels.reshape(len(rows), -1), np.ones(len(rows), bool), recording.dataset["sigma"].to_numpy()


def _labels_again(recording: Recording, denoiser: Denoiser, rows: np.ndarray, label_of: LabelOf) -> Labelled:
    """Those of the estimates of samples denoised again."""
    found, sigma = [], []
    for step in steps_again(recording, recording.dataset["sample"].to_numpy()[rows].tolist(), denoiser):
        assert step.x_0_estimate is not None
        found.append(of_images(label_of, step.x_0_estimate.float().cpu()))
        sigma.append(step.sigma)
        x_0 = step.x_after
    stored = recording.final[rows].to_numpy()
    pairs = zip(as_array(x_0, stored.dtype), stored, strict=True)
    same = np.array([one.tobytes() == other.tobytes() for one, other in pairs])
    return np.stack(found, axis=1), same, np.array(sigma)


def _decided(found: xarray.Dataset) -> xarray.Dataset:
    """The labels with what they say: when each sample is decided, and how many are by when."""
    label, last, same = (found[name].to_numpy() for name in ("label", "final_label", "same_bits"))
    agrees = np.logical_and.accumulate((label == last[:, None])[:, ::-1], axis=1)[:, ::-1]
    committed = np.where(agrees.any(1), agrees.argmax(1), label.shape[1])
    decided = agrees.sum(0)
    sigma = np.append(found["sigma"].to_numpy(), 0.0)
    return found.assign(
        commitment_step=("sample", committed),
        commitment_sigma=("sample", sigma[committed]),
        decided=("step", decided / len(label)),
        decided_interval=(("step", "end"), wilson(decided, len(label))),
        entropy=("step", np.array([_entropy(column) for column in label.T])),
    ).assign_attrs(warnings=_beware(same, last, found["nonfinite"].to_numpy()))


def _entropy(labels: np.ndarray) -> float:
    """In nats, with Miller and Madow's correction."""
    _, counts = np.unique(labels, return_counts=True)
    shares = counts / len(labels)
    return float(-(shares * np.log(shares)).sum() + (len(counts) - 1) / (2 * len(labels)))


def _beware(same: np.ndarray, final: np.ndarray, nonfinite: np.ndarray) -> list[str]:
    warnings = []
    if nonfinite.any():
        warnings.append(
            f"{nonfinite.sum()} of {len(final)} samples became NaN or Inf and count as the class −1; look at the others"
        )
    if not same.all():
        warnings.append(
            f"{(~same).sum()} of {len(same)} samples came to other bits of x_0 than the recording holds"
        )
    if len(np.unique(final)) == 1:
        warnings.append("all samples end in one class, so that being decided says nothing")
    return warnings
