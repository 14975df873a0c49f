"""When an image is decided: the class of the estimate of x_0 at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.denoiser import Denoiser
from denoscope.dynamics.proportion import wilson
from denoscope.errors import UserError
from denoscope.labels import DIGIT, classify_finite
from denoscope.origin import denoiser_of, need_finished, steps_again
from denoscope.plain import plain
from denoscope.recording import Recording
from denoscope.storage.plan import as_array

if TYPE_CHECKING:
    import xarray

LabelOf = Callable[[torch.Tensor], Any]
"""Images [n, C, H, W] to whole numbers [n], −1 for what has no class."""


def commitment(
    recording: Recording,
    *,
    denoiser: Denoiser | None = None,
    label_of: LabelOf | None = None,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> xarray.Dataset:
    """At which step each sample of a recording is decided: from when on the class of its x_0 estimate is the last one's.

    The estimates are not stored, so the samples are denoised again from the first states that the recording holds,
    with its own model, options and interventions; `same_bits` (sample) says whether that came to the recording's x_0,
    bit for bit.

    `label` (sample, step) is the class of the estimate of x_0 made in a step, which belongs to the state before it;
    `final_label` (sample) that of x_0. `commitment_step` (sample) is the first step from which all labels are the final
    one, the number of steps where not even the last estimate is; `commitment_sigma` its noise level. `decided` (step) is
    the share of samples decided by then, with its 95 % Wilson interval. `entropy` (step) is that of the labels' shares,
    −Σ p ln p + (m − 1)/2n in nats, m classes seen among n samples: the second part is Miller and Madow's for the bias.

    How to read it: the histogram of `commitment_step` shows when images are decided, often within few steps.
    When it misleads: early estimates are blurred means of many images, whose class is the classifier's guess; and a
    classifier without a reject class is never undecided. Few samples make the entropy too small even so corrected.

    Args:
        denoiser: where the recording's own cannot be loaded again by its name.
        label_of: of images that are no digits; LeNet-5 unless given.
        progress: is told (samples done, all of them).

    Raises: UserError if the recording is not finished or holds no sequence, a function or a tensor that no file holds was
        written into it, its scheduler makes no estimate of x_0, or nothing can label it.

    Source: Miller, in Information Theory in Psychology (1955), for the entropy's bias; Biroli et al., Nature
        Communications 15, 9957 (2024), for the speciation that it shows.
    """
    import xarray

    need_finished(recording)
    denoiser = denoiser or denoiser_of(recording)
    label_of = label_of or digits_of(denoiser)
    names = [str(name) for name in recording.dataset["sample"].to_numpy()]
    parts = []
    for first in range(0, len(names), batch_size):
        part = names[first : first + batch_size]
        parts.append(_labels_again(recording, part, denoiser, label_of))
        if progress:
            progress(first + len(part), len(names))
    labels, finals, bits, sigmas = zip(*parts, strict=True)
    label, last, same = np.concatenate(labels), np.concatenate(finals), np.concatenate(bits)
    agrees = np.logical_and.accumulate((label == last[:, None])[:, ::-1], axis=1)[:, ::-1]
    steps = label.shape[1]
    committed = np.where(agrees.any(1), agrees.argmax(1), steps)
    sigma = np.append(sigmas[0], 0.0)
    decided = agrees.sum(0)
    return xarray.Dataset(
        {
            "label": (("sample", "step"), label),
            "final_label": ("sample", last),
            "commitment_step": ("sample", committed),
            "commitment_sigma": ("sample", sigma[committed]),
            "decided": ("step", decided / len(names)),
            "decided_interval": (("step", "end"), wilson(decided, len(names))),
            "entropy": ("step", np.array([_entropy(column) for column in label.T])),
            "same_bits": ("sample", same),
        },
        coords={"sample": names, "step": np.arange(steps), "sigma": ("step", sigma[:-1])},
        attrs={
            "recording": str(recording.path),
            "fingerprint": plain(recording.attrs["fingerprint"]),
            "warnings": _beware(same, last),
        },
    )


def digits_of(denoiser: Denoiser) -> LabelOf:
    """The digits that LeNet-5 sees in the images of a denoiser, which must be of its size."""
    if tuple(denoiser.shape) != DIGIT:
        raise UserError(
            f"{denoiser.name} makes images {list(denoiser.shape)}, which LeNet-5 cannot label; give label_of=…"
        )
    return lambda images: classify_finite(images).label


def _labels_again(
    recording: Recording, samples: Sequence[str], denoiser: Denoiser, label_of: LabelOf
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The labels of the estimates [n, step] and of x_0 [n], whether that has the recording's bits [n], σ [step]."""
    found, sigma = [], []
    for step in steps_again(recording, samples, denoiser):
        if step.x_0_estimate is None:
            raise UserError(
                f"{type(denoiser.scheduler).__name__} makes no estimate of x_0; allowed: DDIM, DDPM, Euler"
            )
        found.append(np.asarray(label_of(step.x_0_estimate.float().cpu())))
        sigma.append(step.sigma)
        x_0 = step.x_after
    stored = recording.final.sel(sample=list(samples)).to_numpy()
    pairs = zip(as_array(x_0, stored.dtype), stored, strict=True)
    same = np.array([one.tobytes() == other.tobytes() for one, other in pairs])
    return np.stack(found, axis=1), np.asarray(label_of(x_0.float().cpu())), same, np.array(sigma)


def _entropy(labels: np.ndarray) -> float:
    """In nats, with Miller and Madow's correction."""
    _, counts = np.unique(labels, return_counts=True)
    shares = counts / len(labels)
    return float(-(shares * np.log(shares)).sum() + (len(counts) - 1) / (2 * len(labels)))


def _beware(same: np.ndarray, final: np.ndarray) -> list[str]:
    warnings = []
    if not same.all():
        warnings.append(
            f"{(~same).sum()} of {len(same)} samples came to other bits of x_0 than the recording holds"
        )
    if len(np.unique(final)) == 1:
        warnings.append("all samples end in one class, so that being decided says nothing")
    return warnings
