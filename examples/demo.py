"""Hidden states, sequences, digits and a plane of classes from the bundled model, in demo/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import denoscope as ds
from denoscope.cli.progress import Console
from denoscope.config import SystemConfig
from denoscope.figures import images, plots
from denoscope.noise import PlaneNoise

OUT = Path("demo")
SIDE, STEPS, LENGTH = 32, 20, 60.0


def record_digits(denoiser: ds.Denoiser) -> ds.Recording:
    """24 random noises, 50 steps, three layers."""
    x = ds.noise.random(24, denoiser.shape, seed=42)
    return ds.record(
        denoiser,
        x,
        OUT / "digits.zarr",
        steps=50,
        layers=["conv_in", "mid_block", "conv_out"],
        overwrite=True,
        progress=Console(),
    )


def classify_plane(denoiser: ds.Denoiser, plane: PlaneNoise) -> np.ndarray:
    """The digit that each noise of a plane is denoised to [ny, nx]."""
    rows = 32
    x_0 = torch.cat(
        [
            ds.sample(denoiser, plane.batch(range(k, k + rows)), steps=STEPS)
            for k in tqdm(range(0, len(plane), rows), desc="plane", unit="row")
        ]
    )
    # Noise x · SIDE + y is at u[x], v[y]; the rows of a picture run along v.
    return ds.classify(x_0).label.reshape(SIDE, SIDE).T


def draw_plane(axes: Axes, labels: np.ndarray, plane: PlaneNoise) -> None:
    plots.draw_plane(axes, labels, plane.u, plane.v, colors=SystemConfig.class_colors)


def draw_overview(rec: ds.Recording, labels: np.ndarray, plane: PlaneNoise) -> Figure:
    """The first picture of the README: digits, one sequence and the plane."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))
    top, bottom = left.subplots(2, 1, height_ratios=(3, 1))
    plots.draw_contact_sheet(
        top, torch.from_numpy(rec.final.to_numpy()), columns=8, title="24 noises, denoised"
    )
    plots.draw_strip(bottom, torch.from_numpy(rec.sequence[0].to_numpy()), count=9, title="one sequence")
    axes = right.subplots()
    draw_plane(axes, labels, plane)
    axes.set_title("which digit each noise of a plane becomes", fontsize="medium", loc="left")
    return figure


def main() -> None:
    denoiser = ds.load("mnist")
    rec = record_digits(denoiser)
    digits = torch.from_numpy(rec.final.to_numpy())
    images.contact_sheet(digits, OUT / "digits.png", columns=8)
    images.save_strip(torch.from_numpy(rec.sequence[0].to_numpy()), OUT / "strip.png")
    # The norm of a typical noise is √784 = 28.
    plane = ds.noise.plane((SIDE, SIDE), denoiser.shape, lengths=(LENGTH, LENGTH))
    labels = classify_plane(denoiser, plane)
    figure, axes = plots.figure()
    draw_plane(axes, labels, plane)
    plots.save(figure, OUT / "plane.png")
    plots.save(draw_overview(rec, labels, plane), OUT / "overview.png", dpi=110)
    print(f"\n{OUT / 'digits.zarr'}, opened with plain xarray:\n{xarray.open_zarr(OUT / 'digits.zarr')}\n")
    print("digits, as the classifier reads them:", *ds.classify(rec.final).label)
    print("\nLook at:")
    print(f"  {OUT / 'overview.png'}  all of it in one picture")
    print(f"  {OUT / 'digits.png'}    the {len(digits)} digits")
    print(f"  {OUT / 'strip.png'}     the first of them, from noise x_T to image x_0")
    print(f"  {OUT / 'plane.png'}     which digit each noise of a plane becomes")
    print(f"  {OUT / 'digits.zarr'}  sequences and hidden states (xarray.open_zarr)")


if __name__ == "__main__":
    main()
