"""When samples are decided, from the labels of their estimates of x_0."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from numpy.typing import ArrayLike
from scipy.special import entr

from denoscope.dynamics.boundaries.label_plane import label_array
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError


@calls_checked
def commitment_of(
    labels: Any, final_labels: Any, *, sigma: ArrayLike | None = None, timestep: ArrayLike | None = None
) -> xarray.Dataset:
    """The step in which each sample is decided: the first from which all labels of its x_0 estimates are the final one.

    `commitment_step` (sample) is the number of steps if not even the last estimate has the final label, and
    `commitment_sigma` its noise level (0 after the last step). `decided` (step) is the share of samples decided by then,
    with its 95 % Wilson interval. `entropy` (step) is that of the shares p of the m labels among n samples, −Σ p ln p +
    (m − 1)/2n in nats; the second term corrects the bias of few samples (Miller and Madow).

    Interpretation: the histogram of `commitment_step` shows when images are decided, often within few steps.

    Caveats: early estimates are blurred means of many images, whose label is a guess of the classifier; without a reject
    class it is never undecided. Few samples make the entropy too small even with the correction.

    Args:
        labels: integers [sample, step], the label of the estimate of x_0 made in each step.
        final_labels: integers [sample], the label of x_0.
        sigma: noise level [step] before each step.
        timestep: training timestep [step] of each step.

    Raises: UserError if the labels are not integers, or do not fit together.

    Source: Miller, in Information Theory in Psychology (1955), for the bias of the entropy; Biroli et al., Nature
    Communications 15, 9957 (2024), for the speciation that the entropy shows.
    """
    label, final = label_array(labels), label_array(final_labels)
    fits = label.ndim == 2 and label.size and final.shape == label.shape[:1]
    if not fits or {label.dtype.kind, final.dtype.kind} - set("iub"):
        raise UserError(
            f"labels are {label.dtype} {list(label.shape)} and final_labels {final.dtype} {list(final.shape)}; allowed: "
            "integers [sample, step] and [sample]"
        )
    coords: dict[str, Any] = {"step": np.arange(label.shape[1])}
    if isinstance(labels, xarray.DataArray) and "sample" in labels.coords:
        coords["sample"] = labels["sample"].to_numpy()
    for name, values in (("sigma", sigma), ("timestep", timestep)):
        if values is not None:
            coords[name] = ("step", _parse_levels(values, name, label.shape[1]))
    levels = coords["sigma"][1] if sigma is not None else np.full(label.shape[1], np.nan)
    variables = {"label": (("sample", "step"), label), "final_label": ("sample", final)}
    return xarray.Dataset(
        variables | commitment_variables(label, final, levels),
        coords=coords,
        attrs={"warnings": single_class_warning(final)},
    )


def commitment_variables(label: np.ndarray, final: np.ndarray, sigma: np.ndarray) -> dict[str, Any]:
    """The variables that `commitment_of` computes from labels [sample, step] and [sample] and noise levels [step]."""
    agrees = np.logical_and.accumulate((label == final[:, None])[:, ::-1], axis=1)[:, ::-1]
    committed = np.where(agrees.any(1), agrees.argmax(1), label.shape[1])
    decided = agrees.sum(0)
    return {
        "commitment_step": ("sample", committed),
        "commitment_sigma": ("sample", np.append(sigma, 0.0)[committed]),
        "decided": ("step", decided / len(label)),
        "decided_interval": (("step", "end"), wilson(decided, len(label))),
        "entropy": ("step", np.array([_entropy(column) for column in label.T])),
    }


def single_class_warning(final: np.ndarray) -> list[str]:
    """A warning if commitment means nothing because all samples have the same final label."""
    if len(np.unique(final)) > 1:
        return []
    return ["all samples have the same final label, so that they are decided from the start"]


def _entropy(labels: np.ndarray) -> float:
    """The entropy of labels [n] in nats, with the correction by Miller and Madow."""
    _, counts = np.unique(labels, return_counts=True)
    return float(entr(counts / len(labels)).sum() + (len(counts) - 1) / (2 * len(labels)))


def _parse_levels(values: ArrayLike, name: str, steps: int) -> np.ndarray:
    levels = parse_numbers(values, name)
    if levels.shape != (steps,):
        raise UserError(
            f"{name} has shape {list(levels.shape)}; allowed: [{steps}], one number for each step"
        )
    return levels
