"""Hidden states, sequences, digits and a plane of classes from the bundled models, and a report on them, in demo/."""

from __future__ import annotations

from pathlib import Path

import torch
import xarray
from matplotlib.figure import Figure

import denoscope as ds
from denoscope.cli import messages
from denoscope.cli.progress import Console, Counter
from denoscope.figures import images, plots

OUT = Path("demo")
SIDE, STEPS = 256, 20


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


def map_basins(denoiser: ds.Denoiser, stages: ds.figures.RefinementFrames) -> xarray.Dataset:
    """The digit that each noise of a part of a sphere becomes: cells along boundaries are computed, the others filled."""
    plane = ds.noise.plane((SIDE, SIDE), denoiser.shape, geometry="spherical", base_seed=7, endpoint=False)
    with Counter("plane", unit="noise", most=SIDE**2) as counter:
        return ds.basins.map(
            denoiser,
            plane,
            steps=STEPS,
            callback=stages,
            checkpoint=ds.Checkpoint(OUT / "plane.npz", overwrite=True, progress=counter),
        )


def draw_overview(rec: ds.Recording, basins: xarray.Dataset) -> Figure:
    """The first picture of the README: digits, one sequence and the plane."""
    with ds.figures.style.context():
        figure = Figure(figsize=(ds.figures.style.WIDTHS["double"], 2.9), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.2, 1))[0]
        top, bottom = left.subplots(2, 1, height_ratios=(3, 1))
        axes = right.subplots()
    ds.figures.draw_contact_sheet(
        top, torch.from_numpy(rec.final.to_numpy()), columns=8, title="24 noises, denoised"
    )
    ds.figures.draw_strip(bottom, torch.from_numpy(rec.sequence[0].to_numpy()), count=9, title="one sequence")
    ds.figures.draw_basins(axes, basins)
    origin = axes.get_title(loc="left")
    ds.figures.style.title(axes, f"which digit each noise becomes ({origin})")
    return figure


def write_report(rec: ds.Recording, basins: xarray.Dataset) -> Path:
    """The page about all of it, with a few measures of the recording and of the plane."""
    measures = {
        "path.json": ds.dynamics.path_geometry(rec.sequence),
        "fractions.json": ds.dynamics.basin_fractions(basins["label"]),
        "boundary.json": ds.dynamics.boundary_dimension(basins["label"]),
    }
    for name, result in measures.items():
        (OUT / name).write_text(result.to_json())
    sources = {
        "Twenty-four digits": OUT / "digits.zarr",
        "Lengths of the sequences": OUT / "path.json",
        "A plane of noises": OUT / "plane.npz",
        "Shares of its classes": OUT / "fractions.json",
        "Dimension of its boundaries": OUT / "boundary.json",
    }
    return ds.report(sources, OUT / "report.html", overwrite=True)


def main() -> None:
    rec = record_digits(ds.load("mnist"))
    digits = torch.from_numpy(rec.final.to_numpy())
    images.contact_sheet(digits, OUT / "digits.png", columns=8)
    images.save_strip(torch.from_numpy(rec.sequence[0].to_numpy()), OUT / "strip.png")
    stages = ds.figures.RefinementFrames()
    basins = map_basins(ds.load("digits"), stages)
    ds.figures.save_refinement(stages, OUT / "plane.gif")
    figure, axes = plots.figure()
    ds.figures.draw_basins(axes, basins)
    plots.save(figure, OUT / "plane.png")
    plots.save(draw_overview(rec, basins), OUT / "overview.png")
    page = write_report(rec, basins)
    arrays = xarray.open_zarr(OUT / "digits.zarr").data_vars.values()
    print(f"\n{OUT / 'digits.zarr'}, opened with plain xarray:")
    for array in arrays:
        print(f"  {array.name}: {dict(array.sizes)}")
    print("\ndigits, as the classifier reads them:", *ds.classify(rec.final).label)
    print(
        f"plane: {int(basins['computed'].sum())} of {basins['label'].size} noises denoised, the others filled"
    )
    print("\nLook at:")
    print(f"  {page}   all of it on one page, to send or to print")
    print(f"  {OUT / 'overview.png'}  most of it in one picture")
    print(f"  {OUT / 'digits.png'}    the {len(digits)} digits")
    print(f"  {OUT / 'strip.png'}     the first of them, from noise x_T to image x_0")
    print(
        f"  {OUT / 'plane.png'}     which digit each noise of a plane becomes; {OUT / 'plane.gif'}: while it was computed"
    )
    print(f"  {OUT / 'digits.zarr'}   sequences and hidden states (xarray.open_zarr)")


if __name__ == "__main__":
    with messages.shown(messages.Verbosity()):
        main()
