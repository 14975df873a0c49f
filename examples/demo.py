"""Hidden states, sequences, digits and a plane of classes from the bundled model, in demo/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray
from tqdm import tqdm

import denoscope as ds
from denoscope import images, plots
from denoscope.config import SystemConfig
from denoscope.progress import Console

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


def classify_plane(denoiser: ds.Denoiser) -> Path:
    """A plane of noises about as long as typical ones (√784 = 28), coloured by the digit each becomes."""
    plane = ds.noise.plane((SIDE, SIDE), denoiser.shape, lengths=(LENGTH, LENGTH))
    rows = 32
    x_0 = torch.cat(
        [
            ds.sample(denoiser, plane.batch(range(k, k + rows)), steps=STEPS)
            for k in tqdm(range(0, len(plane), rows), desc="plane", unit="row")
        ]
    )
    # Noise x · SIDE + y lies at u[x], v[y]; a picture's rows run along v.
    labels = ds.classify(x_0).label.reshape(SIDE, SIDE).T
    u, v = np.unique(plane.coords["u"]), np.unique(plane.coords["v"])
    figure, axes = plots.figure()
    plots.draw_plane(axes, labels, u, v, colors=SystemConfig.class_colors)
    plots.save(figure, OUT / "plane.png")
    return OUT / "plane.png"


def main() -> None:
    denoiser = ds.load("mnist")
    rec = record_digits(denoiser)
    digits = torch.from_numpy(rec.final.to_numpy())
    images.contact_sheet(digits, OUT / "digits.png", columns=8)
    images.save_strip(torch.from_numpy(rec.sequence[0].to_numpy()), OUT / "strip.png")
    plane = classify_plane(denoiser)
    print(f"\n{OUT / 'digits.zarr'}, opened with plain xarray:\n{xarray.open_zarr(OUT / 'digits.zarr')}\n")
    print("digits, as the classifier reads them:", *ds.classify(rec.final).label)
    print("\nLook at:")
    print(f"  {OUT / 'digits.png'}   the {len(digits)} digits")
    print(f"  {OUT / 'strip.png'}    the first of them, from noise x_T to image x_0")
    print(f"  {plane}    which digit each noise of a plane becomes")
    print(f"  {OUT / 'digits.zarr'}  sequences and hidden states (xarray.open_zarr)")


if __name__ == "__main__":
    main()
