"""Draw the figures of the documentation with the bundled models: `python examples/figures.py decided geometry`.

Long computations are saved in figures/ and not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray
from matplotlib.figure import Figure

import denoscope as ds
from denoscope import dynamics, figures
from denoscope.cli.progress import Console, Counter
from denoscope.dynamics.trajectories.trajectory_distances import METRICS
from denoscope.figures import plots, style
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.writing import result_files
from denoscope.recording import verify
from denoscope.recording.opening import set_attribute

SAVED, IMAGES = Path("figures"), Path("docs/images")
STEPS = 50
EPSILONS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LAYERS = ("conv_in", "mid_block", "up_blocks.1", "conv_out")


def panels(rows: int, columns: int, height: float | None = None) -> tuple[Figure, Any]:
    """A figure of two columns' width and its axes [row, column]."""
    figure, axes = plots.figure("double", height, rows=rows, columns=columns)
    return figure, np.reshape(axes, (rows, columns))


def recorded(name: str, x: ds.NoiseSet, model: str = "mnist", **given: Any) -> ds.Recording:
    """A recording of a bundled model, resumed if it was interrupted."""
    path = SAVED / f"{name}.zarr"
    options: dict[str, Any] = {
        "steps": STEPS,
        "layers": ["mid_block"],
        "resume": path.exists(),
        "progress": Console(),
    } | given
    return ds.record(ds.load(model), x, path, **options)


def samples() -> ds.Recording:
    """A recording of three hundred random noises with their sequences."""
    denoiser = ds.load("mnist")
    return recorded("samples", ds.noise.random(300, denoiser.shape, seed=42), layers=["conv_in", "mid_block", "up_blocks.1"],
                    reduce="spatial_mean")  # fmt: skip


def covariance() -> Any:
    """The covariance of the images of `mnist`."""
    return dynamics.covariance_spectrum(samples().final.to_numpy())


def covariance_of_digits() -> Any:
    """The covariance of the images of `digits`."""
    x = ds.noise.random(1000, ds.load("digits").shape, seed=42)
    return dynamics.covariance_spectrum(recorded("digits", x, "digits").final.to_numpy())


def out(name: str, progress: Counter) -> Checkpoint:
    """The file to which a measure saves its work, and from which the next run of this script resumes."""
    return Checkpoint(SAVED / f"{name}.npz", resume=True, progress=progress)


def divergence(picture: Path) -> None:
    """Fifteen pairs in x_t, the estimate of x_0 and four layers, with Gaussian theory; and a sweep of epsilon."""
    denoiser = ds.load("mnist")
    pairs = recorded(
        "pairs",
        ds.noise.perturbed(15, denoiser.shape, epsilon=0.01),
        layers=LAYERS,
        extract_estimates=True,
    )
    for epsilon in EPSILONS:
        ds.noise.perturbed(5, denoiser.shape, epsilon=epsilon).write(SAVED / "sweep")
    sweep, sweep_path = recorded("sweep", ds.noise.read(SAVED / "sweep")), SAVED / "sweep.zarr"
    if "noise_floor" not in sweep.attrs:
        set_attribute(sweep_path, "noise_floor", verify.precision_of(sweep).to_dict())
        sweep = ds.open(sweep_path)
    sweep_result = dynamics.epsilon_sweep(dynamics.divergence(sweep))
    figure, axes = panels(1, 2, 3.2)
    theory = dynamics.gaussian_theory(denoiser, covariance(), steps=STEPS)
    figures.draw_divergence(axes[0, 0], dynamics.divergence(pairs), theory=theory)
    figures.draw_sweep(axes[0, 1], sweep_result)
    plots.save(figure, picture)
    print(sweep_result.to_dict())


def exponents(picture: Path) -> None:
    """The four largest exponents of three noises under DDIM and DDPM, all exponents of one noise, and its local expansion."""
    denoisers = {
        "DDIM": ds.load("digits", scheduler="ddim"),
        "DDPM, common noise": ds.load("digits", scheduler="ddpm"),
    }
    x, seen = ds.noise.random(3, denoisers["DDIM"].shape, seed=42), covariance_of_digits()
    spectra = {
        name: np.array(
            [dynamics.spectrum(denoiser, x.batch([k]), 4, steps=STEPS).exponents for k in range(3)]
        )
        for name, denoiser in denoisers.items()
    }
    theory = {
        name: dynamics.gaussian_theory(denoiser, seen, steps=STEPS) for name, denoiser in denoisers.items()
    }
    unclipped = ds.load("digits", clip_sample=False, dtype="float64")
    every = dynamics.full_spectrum(unclipped, x.batch([0]), steps=STEPS)
    figure, axes = panels(1, 3, 3.2)
    figures.draw_exponents(axes[0, 0], spectra, theory=theory)
    name = "DDIM, unclipped"
    figures.draw_exponents(axes[0, 1], {name: every.exponents}, theory={name: theory["DDIM"]})
    figures.draw_expansion(
        axes[0, 2], dynamics.local_expansion(denoisers["DDIM"], x.batch([0]), 4, steps=STEPS)
    )
    plots.save(figure, picture)
    print("eigenvalues", seen.eigenvalues[:4].round(2))
    print({name: rows.round(2).tolist() for name, rows in spectra.items()})
    print({name: t.exponents[:4].round(2).tolist() for name, t in theory.items()})
    print(every.exponents.round(3), every.exponents.sum(), every.log_det, every.warnings)
    print(dynamics.kaplan_yorke(every.exponents))


def decided(picture: Path) -> None:
    """When samples are decided: commitment, entropy, U-turns and their distances, with speciation and Gaussian theory."""
    denoiser, recording = ds.load("mnist"), samples()
    path = SAVED / "commitment.npz"
    if not path.exists():
        with Counter("commitment", unit="sample") as progress:
            result_files.write(dynamics.commitment(recording, checkpoint=Checkpoint(progress=progress)), path)
    commitment = checkpoint.read(path)
    level = dynamics.speciation(denoiser, covariance(), steps=STEPS)
    images = torch.from_numpy(recording.final[:24].to_numpy())
    with Counter("U-turns", unit="image") as progress:
        turned = dynamics.u_turn(
            denoiser, images, [k / 10 for k in range(1, 11)], checkpoint=out("u_turn", progress)
        )
    theory = dynamics.gaussian_theory(denoiser, covariance(), steps=STEPS)
    figure, axes = panels(2, 2)
    figures.draw_commitment(axes[0, 0], commitment, level=level)
    figures.draw_entropy(axes[0, 1], commitment, level=level)
    figures.draw_u_turn(axes[1, 0], turned, level=level)
    figures.draw_turn_distance(axes[1, 1], turned, theory=theory, level=level)
    plots.save(figure, picture)
    print(
        f"σ {level.sigma:.2f}, step {level.step}; median commitment step {np.median(commitment['commitment_step'])}"
    )
    expected = theory.turn_distance[turned["step"].to_numpy()]
    for sigma, distance, gaussian in zip(turned["sigma"], turned["turn_distance"], expected, strict=True):
        print(f"U-turn from σ {float(sigma):.2f}: {float(distance):.1f}, Gaussian data {gaussian:.1f}")


def geometry(picture: Path) -> None:
    """Geometry of trajectories, participation, similarity of layers and steps, distances and a recurrence plot."""
    recording = samples()
    paths = recording.sequence.to_numpy()
    states = {"x_t": paths[:, :-1], **{name: array.to_numpy() for name, array in recording.states.items()}}
    chosen = (0, 20, 40)
    sets = {f"{name} {step}": values[:, step] for name, values in states.items() for step in chosen}
    sigmas = np.append(recording.dataset["sigma"], 0.0)
    grown = paths * np.sqrt(1 + sigmas**2)[:, None, None, None]
    figure, axes = panels(3, 2)
    figures.draw_path(axes[0, 0], dynamics.path_geometry(paths))
    for name, values in {"x_t": paths, "x_t / √ᾱ": grown}.items():
        figures.draw_speed(axes[0, 1], dynamics.path_geometry(values, sigmas=sigmas), label=name)
    for name, values in states.items():
        figures.draw_participation(axes[1, 0], dynamics.participation(values), label=name)
    axes[1, 0].set_yscale("log")
    figures.draw_similarity(axes[1, 1], dynamics.cka_matrix(list(sets.values())), names=list(sets))
    style.title(axes[1, 1], "layers by step")
    distances = _distances(recording)
    figures.draw_distances(axes[2, 0], distances["dtw"])
    style.title(axes[2, 0], "trajectories by their digit")
    figures.draw_recurrence(axes[2, 1], dynamics.recurrence(paths[0], rate=0.1))
    axes[2, 1].set(xlabel="state", ylabel="state")
    style.title(axes[2, 1], "recurrence of one trajectory")
    plots.save(figure, picture)


def _distances(recording: ds.Recording, count: int = 60) -> dict[str, Any]:
    """All distances between some trajectories in the order of their digits; prints how they rank pairs, as x_T and x_0 do."""
    chosen = np.argsort(ds.classify(recording.final[:count]).label, kind="stable")
    paths, pairs = recording.sequence[:count].to_numpy()[chosen], np.triu_indices(count, 1)
    distances = {metric: dynamics.trajectory_distances(paths, metric=metric) for metric in METRICS}
    ends = [dynamics.trajectory_distances(paths[:, state]) for state in ([0], [-1])]
    ranks = [each.values[pairs].argsort().argsort() for each in (*distances.values(), *ends)]
    for metric, row in zip(METRICS, np.atleast_2d(np.corrcoef(ranks)), strict=False):
        low, high = np.quantile(distances[metric].values[pairs], (0.05, 0.95))
        print(
            f"{metric}: {low:.4g} to {high:.4g}; rank correlation with x_T {row[-2]:.2f}, x_0 {row[-1]:.2f}"
        )
    return distances


def closed_loop(picture: Path) -> None:
    """Loops of 20 steps: orbit diagram, exponents, distance of two orbits under common noise, and a recurrence plot."""
    denoiser = ds.load("mnist")
    x_T = ds.noise.random(2, denoiser.shape, seed=42).batch(range(2))
    x_0 = ds.sample(denoiser, x_T, steps=20)

    def loop(level: float, noise: Any) -> Any:
        return dynamics.closed_loop(denoiser, level, steps=20, noise=noise)

    figure, axes = panels(2, 2)
    with Counter("orbit diagram", unit="iteration") as progress:
        diagram = dynamics.orbit_diagram(
            lambda level: loop(level, "fixed"), [k / 20 for k in range(1, 21)], x_0[0], iterations=30, discard=100,
            checkpoint=out("orbit_diagram", progress),
        )  # fmt: skip
    figures.draw_orbit_diagram(axes[0, 0], diagram)
    axes[0, 0].set(xlabel="level", ylabel="mean of the image, 30 iterations")
    for noise in ("fixed", "common"):
        exponents = {}
        for level in (0.1, 0.3, 0.5, 0.7, 0.9):
            with Counter(f"{noise} {level}", unit="iteration") as progress:
                exponents[level] = dynamics.lyapunov(
                    loop(level, noise), x_0[0], iterations=100, discard=60, k=1,
                    checkpoint=out(f"lyapunov_{noise}_{level}", progress),
                )  # fmt: skip
        figures.draw_lyapunov(axes[0, 1], exponents, label=f"{noise} noise")
    axes[0, 1].set_xlabel("level")
    for level in (0.3, 0.5, 0.7):
        orbits = [dynamics.orbit(loop(level, "common"), x, iterations=60) for x in x_0]
        apart = (orbits[0] - orbits[1]).flatten(1).norm(dim=1)
        axes[1, 0].plot(apart, label=f"level {level}")
    axes[1, 0].set(yscale="log", xlabel="iteration, common noise", ylabel="distance of two orbits (L2)")
    style.legend(axes[1, 0])
    orbit = dynamics.orbit(loop(0.4, "common"), x_0[0], iterations=150)
    figures.draw_recurrence(axes[1, 1], dynamics.recurrence(orbit, rate=0.1))
    style.title(axes[1, 1], "recurrence, common noise, level 0.4")
    plots.save(figure, picture)


def orbits(picture: Path) -> None:
    """Five hundred iterations of two loops at level 0.4: the correlation sum and the 0–1 test of the mean pixel."""
    denoiser, path = ds.load("mnist"), SAVED / "orbits.npz"
    if not path.exists():
        x_0 = ds.sample(denoiser, ds.noise.random(1, denoiser.shape, seed=42).batch([0]), steps=20)[0]
        loops = {
            noise: dynamics.closed_loop(denoiser, 0.4, steps=20, noise=noise) for noise in ("fixed", "common")
        }
        runs = {noise: dynamics.orbit(loop, x_0, iterations=600)[100:] for noise, loop in loops.items()}
        variables = {noise: (("iteration", "pixel"), run.flatten(1).numpy()) for noise, run in runs.items()}
        result_files.write(xarray.Dataset(variables), path)
    figure, axes = panels(1, 2)
    for marker, (noise, run) in zip("ox", checkpoint.read(path).items(), strict=True):
        tested = dynamics.zero_one(run.to_numpy().mean(1), seed=0)
        label = f"{noise} noise, K = {tested.value:.2f}"
        axes[0, 1].plot(tested.frequencies, tested.correlations, marker, markersize=style.MARKER, label=label)
    figures.draw_correlation_sum(axes[0, 0], dynamics.correlation_dimension(run.to_numpy(), theiler=10))
    axes[0, 1].set(xlabel="frequency c", ylabel="$K_c$ of the mean pixel", ylim=(-1.05, 1.05))
    style.legend(axes[0, 1])
    plots.save(figure, picture)


def ridges(picture: Path) -> None:
    """Classes of a plane of noises and the growth of the map on the same grid."""
    denoiser = ds.load("mnist")
    plane = ds.noise.plane((36, 36), denoiser.shape, lengths=(60.0, 60.0))
    with Counter("basins") as progress:
        labels = ds.basins.map(denoiser, plane, steps=20, checkpoint=out("basins", progress))
    with Counter("ridges", unit="point") as progress:
        growth = dynamics.plane_growth(denoiser, plane, steps=20, checkpoint=out("ridges", progress))
    figure, axes = panels(1, 2)
    figures.draw_basins(axes[0, 0], labels)
    figures.draw_growth(axes[0, 1], growth)
    axes[0, 1].set_aspect("equal")
    plots.save(figure, picture)
    print(dynamics.verdict(labels["label"], growth=growth["growth"].isel(direction=0)))


def basins(picture: Path) -> None:
    """Classes of a plane, the box counts of their boundary, and the share of uncertain points."""
    denoiser, rng = ds.load("digits"), np.random.default_rng(0)
    plane = ds.noise.plane((129, 129), denoiser.shape, lengths=(16.0, 16.0))
    with Counter("basins") as progress:
        mapped = ds.basins.map(denoiser, plane, method="exact", steps=20, checkpoint=out("plane", progress))
    labels = mapped["label"]
    where = ds.basins.label_of(denoiser, plane, steps=20)
    uncertain = dynamics.uncertainty_exponent(
        where, rng.uniform(-8, 8, (1000, 2)), [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
    )
    dimension = dynamics.boundary_dimension(labels, boxes=(2, 3, 5, 9, 17, 33))
    figure, axes = panels(1, 3, 2.3)
    figures.draw_basins(axes[0, 0], mapped)
    figures.draw_boundary_dimension(axes[0, 1], dimension)
    figures.draw_uncertainty(axes[0, 2], uncertain)
    plots.save(figure, picture)
    print(dynamics.verdict(labels), dynamics.wada(labels).reading)
    print(dimension.value, dimension.interval, dimension.warnings)
    print(uncertain.value, uncertain.interval, uncertain.warnings)


FIGURES: dict[str, Callable[[Path], None]] = {
    draw.__name__: draw
    for draw in (divergence, exponents, decided, geometry, closed_loop, orbits, ridges, basins)
}


def main(names: list[str]) -> None:
    SAVED.mkdir(exist_ok=True)
    for name in names or FIGURES:
        FIGURES[name](IMAGES / f"{name}.png")
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
