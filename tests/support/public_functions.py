"""A valid call of every public function, and values that most arguments refuse."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray

import denoscope as ds
from denoscope.foundation.writing import result_files

SHAPE = (1, 4, 4)
RESULTS = (
    "Estimate", "Labels", "NoiseSet", "Recording", "Result", "Shape", "Step", "UnfinishedError", "UserError",
    "ArrayNoise", "Denoiser", "FolderNoise", "PerturbedNoise", "PlaneNoise", "RandomNoise", "SphereNoise", "Tiles",
    "RefinementFrames",
)  # fmt: skip
"""Public classes that functions return, and that nobody makes by hand."""


class Network(torch.nn.Module):
    """A network of SHAPE that costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Tanh()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return self.mix(x.flip(-1) + 0.5 * x.mean((1, 2, 3), keepdim=True)) + 1e-3 * timestep


@dataclass(frozen=True)
class Call:
    """A public function and arguments that it takes; values that are functions of a folder are made for each call."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    names: tuple[str, ...] = field(default=())
    """All its arguments, from its signature."""


def public_names() -> Iterator[str]:
    """Every public function and class, as `ds.dynamics.orbit`."""
    for place, package in {
        "ds": ds,
        **{f"ds.{name}": getattr(ds, name) for name in ("noise", "dynamics", "basins", "figures")},
        **{f"ds.figures.{name}": getattr(ds.figures, name) for name in ("images", "plots")},
    }.items():
        for name in package.__all__:
            if name not in RESULTS and not inspect.ismodule(getattr(package, name)):
                yield f"{place}.{name}"


def calls(folder: Path) -> dict[str, Call]:
    """The valid calls, by name; their files lie in a folder."""
    made = {name: Call(function(name), arguments) for name, arguments in valid_arguments(folder).items()}
    return {name: Call(call.function, call.arguments, names_of(call.function)) for name, call in made.items()}


def function(name: str) -> Callable[..., Any]:
    value: Any = ds
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(name for name, item in inspect.signature(function).parameters.items() if item.kind in kinds)


def valid_arguments(folder: Path) -> dict[str, dict[str, Any]]:
    """Arguments of a call of each function that succeeds."""
    from diffusers import DDIMScheduler

    denoiser = ds.load(Network(), scheduler=DDIMScheduler(clip_sample=False), shape=SHAPE, device="cpu")
    x = ds.noise.random(2, SHAPE)
    plane = ds.noise.plane((3, 2), SHAPE, lengths=(9.0, 9.0))
    for epsilon in (0.1, 0.2, 0.4, 0.8):
        ds.noise.perturbed(5, SHAPE, epsilon=epsilon).write(folder / "perturbed")
    rec = ds.record(denoiser, ds.noise.read(folder / "perturbed"), folder / "run.zarr", steps=2, layers="mix")
    x.write(folder / "noises")
    run = {"denoiser": denoiser, "steps": 2}
    values = np.random.default_rng(0)
    return {
        **_of_recording(folder, denoiser, x, rec),
        **_of_noise(folder),
        **_of_arrays(values),
        **_of_maps(),
        **_of_denoiser(run, x, plane, rec),
        **_of_figures(folder, run, plane, rec, x, values),
    }


def _of_recording(folder: Path, denoiser: Any, x: Any, rec: Any) -> dict[str, dict[str, Any]]:
    plan = folder / "plan.json"
    intervention = ds.Intervention("mix", "scale", 0.5)
    ds.write_plan([intervention], plan)
    return {
        "ds.Checkpoint": {"path": folder / "new.npz"},
        "ds.Condition": {"inputs": {}},
        "ds.Intervention": {"at": "mix", "do": "scale", "value": 0.5},
        "ds.classify": {"images": np.zeros((1, 1, 28, 28), np.float32)},
        "ds.decode": {"source": Autoencoder(), "latents": torch.zeros(1, 4, 2, 2)},
        "ds.denoise": {"denoiser": denoiser, "x_T": x, "steps": 2},
        "ds.gradient": {
            "denoiser": denoiser, "x_T": x, "objective": lambda x_0: x_0.square().sum((1, 2, 3)), "steps": 2,
        },
        "ds.load": {"source": Network(), "scheduler": "ddim", "shape": SHAPE, "device": "cpu"},
        "ds.open": {"path": folder / "run.zarr"},
        "ds.patch": {"denoiser": denoiser, "recording_a": rec, "recording_b": rec, "layers": ["mix"]},
        "ds.read_plan": {"path": plan},
        "ds.record": {"denoiser": denoiser, "x": x, "steps": 2, "layers": "mix"},
        "ds.report": {"sources": rec, "out": folder / "page.html", "overwrite": True},
        "ds.sample": {"denoiser": denoiser, "x_T": x, "steps": 2},
        "ds.watch": {"pipe": Pipe(denoiser), "layers": "mix"},
        "ds.write_plan": {"interventions": [intervention], "path": folder / "written.json"},
    }  # fmt: skip


def _of_noise(folder: Path) -> dict[str, dict[str, Any]]:
    states = list(ds.noise.random(3, SHAPE))
    return {
        "ds.noise.as_noises": {"x": torch.zeros(2, *SHAPE), "shape": SHAPE},
        "ds.noise.as_state": {"x": torch.zeros(SHAPE), "shape": SHAPE, "name": "x"},
        "ds.noise.perturbed": {"num_perturbations": 2, "shape": SHAPE},
        "ds.noise.plane": {"counts": (2, 3), "shape": SHAPE},
        "ds.noise.plane_through": {
            **dict(zip(("first", "second", "third"), states, strict=True)),
            "counts": (2, 3),
        },
        "ds.noise.random": {"num_samples": 2, "shape": SHAPE},
        "ds.noise.read": {"folder": folder / "noises"},
        "ds.noise.sphere": {"num_samples": 2, "shape": SHAPE},
    }


def _of_arrays(values: np.random.Generator) -> dict[str, dict[str, Any]]:
    points, labels = values.random((300, 2)), values.integers(0, 3, (60, 60))
    paths = values.random((6, 5, 4))
    return {
        "ds.dynamics.PointLabels": {"label": half},
        "ds.dynamics.basin_entropy": {"labels": labels},
        "ds.dynamics.basin_fractions": {"labels": labels},
        "ds.dynamics.boundary_dimension": {"labels": labels},
        "ds.dynamics.cka_matrix": {"states": [points[:20], points[20:40]]},
        "ds.dynamics.commitment_of": {"labels": labels[:4, :3], "final_labels": labels[:4, 0]},
        "ds.dynamics.correlation_dimension": {"points": points},
        "ds.dynamics.covariance_spectrum": {"images": values.random((20, 1, 4, 4))},
        "ds.dynamics.divergence_of": {"sequence": paths, "bases": [0] * 6},
        "ds.dynamics.kaplan_yorke": {"exponents": [0.5, -1.0]},
        "ds.dynamics.linear_cka": {"x": points[:20], "y": points[20:40]},
        "ds.dynamics.participation": {"trajectories": paths},
        "ds.dynamics.path_geometry": {"trajectories": paths},
        "ds.dynamics.periodicity": {"states": np.tile([0.0, 1.0], 100)[:, None]},
        "ds.dynamics.recurrence": {"points": points[:50]},
        "ds.dynamics.trajectory_distances": {"a": paths},
        "ds.dynamics.uncertainty_exponent": {
            "label_of": half, "points": points, "epsilons": [0.2, 0.1, 0.05, 0.02, 0.01],
        },
        "ds.dynamics.uncertainty_exponent_of": {
            "labels": values.integers(0, 2, 400), "neighbour_labels": values.integers(0, 2, (5, 400)),
            "epsilons": [0.01, 0.02, 0.05, 0.1, 0.2], "dimension": 2,
        },
        "ds.dynamics.verdict": {"labels": labels},
        "ds.dynamics.wada": {"labels": labels},
        "ds.dynamics.zero_one": {"series": values.random(1000)},
        "ds.basins.PointLabels": {"label": half},
    }  # fmt: skip


def _of_maps() -> dict[str, dict[str, Any]]:
    start = torch.tensor([0.3], dtype=torch.float64)
    return {
        "ds.dynamics.fixed_points": {"step": torch.cos, "starts": start[None], "iterations": 20},
        "ds.dynamics.lyapunov": {"step": logistic(4.0), "x0": start, "iterations": 40, "discard": 0},
        "ds.dynamics.orbit": {"step": logistic(4.0), "x0": start, "iterations": 5},
        "ds.dynamics.orbit_diagram": {
            "step_of": logistic, "parameters": [3.2, 3.5], "x0": start, "iterations": 5, "discard": 5,
        },
    }  # fmt: skip


def _of_denoiser(run: dict[str, Any], x: Any, plane: Any, rec: Any) -> dict[str, dict[str, Any]]:
    one = {**run, "x_T": x.tensor(0)}
    covariance = 4 * torch.eye(math.prod(SHAPE), dtype=torch.float64)
    return {
        "ds.dynamics.closed_loop": run,
        "ds.dynamics.commitment": {"recording": rec, "denoiser": run["denoiser"], "label_of": sign},
        "ds.dynamics.divergence": {"recording": rec},
        "ds.dynamics.epsilon_sweep": {"divergence": ds.dynamics.divergence(rec)},
        "ds.dynamics.full_spectrum": one,
        "ds.dynamics.gaussian_theory": {**run, "covariance": covariance},
        "ds.dynamics.local_expansion": {**one, "k": 2},
        "ds.dynamics.plane_growth": {**run, "plane": plane},
        "ds.dynamics.speciation": {**run, "covariance": covariance},
        "ds.dynamics.spectra": {**one, "k": 2, "iterations": 1},
        "ds.dynamics.spectrum": {**one, "k": 2},
        "ds.dynamics.u_turn": {**run, "x_0": x, "levels": [0.5], "draws": 2, "label_of": sign},
        "ds.basins.label_of": {**run, "plane": plane, "classifier": sign},
        "ds.basins.map": {**run, "plane": plane, "classifier": sign},
        "ds.basins.tiles": {**run, "plane": plane, "classifier": sign},
        "ds.basins.zoom": {
            "denoiser": run["denoiser"], "steps": 1, "lanes": 64, "checks": 4, "levels": 1, "classifier": sign,
            "plane": ds.noise.plane((25, 25), SHAPE, lengths=(9.0, 9.0)),
        },
    }  # fmt: skip


def _of_figures(
    folder: Path, run: dict[str, Any], plane: Any, rec: Any, x: Any, values: np.random.Generator
) -> dict[str, dict[str, Any]]:
    d, denoiser = ds.dynamics, run["denoiser"]
    points, labels, paths = values.random((600, 2)), values.integers(0, 3, (60, 60)), values.random((6, 5, 4))
    start = torch.tensor([0.3], dtype=torch.float64)
    committed = d.commitment(rec, denoiser=denoiser, label_of=sign)
    turned = d.u_turn(denoiser, x, [0.5], draws=2, steps=2, label_of=sign)
    wide = ds.noise.plane((25, 25), SHAPE, lengths=(9.0, 9.0))
    zoomed = ds.basins.zoom(denoiser, wide, steps=1, classifier=sign, levels=1, checks=4)
    results = {
        "basins": ds.basins.map(denoiser, plane, steps=2, classifier=sign),
        "boundary_dimension": d.boundary_dimension(labels),
        "commitment": committed,
        "correlation_sum": d.correlation_dimension(points),
        "distances": d.trajectory_distances(paths),
        "divergence": d.divergence(rec),
        "entropy": committed,
        "expansion": d.local_expansion(denoiser, x.tensor(0), k=2, steps=2),
        "growth": d.plane_growth(denoiser, plane, steps=2),
        "lyapunov": {4.0: d.lyapunov(logistic(4.0), start, iterations=40, discard=0)},
        "orbit_diagram": d.orbit_diagram(logistic, [3.2], start, iterations=5, discard=5),
        "participation": d.participation(paths),
        "path": d.path_geometry(paths),
        "recurrence": d.recurrence(points[:50]),
        "similarity": d.cka_matrix([points[:20], points[20:40]]),
        "speed": d.path_geometry(paths, sigmas=[5.0, 4.0, 3.0, 2.0, 1.0]),
        "sweep": d.epsilon_sweep(d.divergence(rec)),
        "turn_distance": turned,
        "u_turn": turned,
        "uncertainty": d.uncertainty_exponent(half, points, [0.2, 0.1, 0.05, 0.02, 0.01]),
        "zoom": zoomed,
    }
    ax = ds.figures.plots.figure()[1]
    drawn = {f"ds.figures.draw_{name}": {"ax": ax, "result": result} for name, result in results.items()}
    others = {
        "basin_entropy": d.basin_entropy(labels, box=3),
        "basin_fractions": d.basin_fractions(labels),
        "convergence": results["lyapunov"][4.0],
        "eigenvalues": d.covariance_spectrum(np.random.default_rng(0).normal(size=(9, 1, 2, 2))),
        "estimate": d.kaplan_yorke([0.4, -1.6]),
        "fixed_points": d.fixed_points(lambda x: x / 2, start[None], iterations=60),
        "gains": d.gaussian_theory(denoiser, np.linspace(1, 0.1, math.prod(denoiser.shape)), steps=2),
        "patch": xarray.Dataset(
            {"moved": (("layer", "step", "sample"), values.random((1, 2, 3)))},
            coords={"layer": ["mix"], "step": [0, 1]},
        ),
        "periodicity": d.periodicity(points),
        "spectrum": d.spectrum(denoiser, x.tensor(0), k=2, steps=2),
        "turns": results["path"],
        "verdict": d.verdict(labels),
        "wada": d.wada(labels),
        "zero_one": d.zero_one(points[:, 0], seed=0),
    }
    drawn |= {f"ds.figures.draw_{name}": {"ax": ax, "result": result} for name, result in others.items()}
    for name in ("images", "sequence", "layer"):
        drawn[f"ds.figures.draw_{name}"] = {"ax": ax, "recording": rec}
    image = rec.final[0].to_numpy()
    drawn["ds.figures.draw_channels"] = {"ax": ax, "state": image}
    drawn["ds.figures.draw_components"] = {"ax": ax, "states": paths}
    drawn["ds.figures.draw_attention"] = {"ax": ax, "weights": np.ones((1, 4, 4)), "image": image[:1]}
    drawn["ds.figures.draw_contact_sheet"] = {"ax": ax, "images": rec.final.to_numpy()[:, :1]}
    drawn["ds.figures.draw_strip"] = {"ax": ax, "sequence": rec.sequence[0].to_numpy()[:, :1]}
    grid = {"u": np.arange(3.0), "v": np.arange(2.0)}
    drawn["ds.figures.draw_plane"] = {
        "ax": ax,
        "labels": np.eye(2, 3, dtype=int),
        "colors": ["red", "blue"],
        **grid,
    }
    drawn["ds.figures.draw_images_plane"] = {"ax": ax, "images": np.zeros((2, 3, 1, 4, 4)), **grid}
    drawn["ds.figures.plots.figure"] = {}
    drawn["ds.figures.plots.save"] = {"figure": ds.figures.plots.figure()[0], "path": "figure.png"}
    drawn["ds.figures.images.to_uint8"] = {"x": image[:1]}
    drawn["ds.figures.images.save_png"] = {"x": image[:1], "path": "image.png"}
    drawn["ds.figures.images.save_strip"] = {
        "sequence": rec.sequence[0].to_numpy()[:, :1],
        "path": "strip.png",
    }
    drawn["ds.figures.images.save_gif"] = {
        "sequence": rec.sequence[0].to_numpy()[:, :1],
        "path": "sequence.gif",
    }
    drawn["ds.figures.images.contact_sheet"] = {"images": rec.final.to_numpy()[:, :1], "path": "sheet.png"}
    torch.save(torch.zeros(1, 4, 4), folder / "image.pt")
    drawn["ds.figures.images.render"] = {"path": folder / "image.pt", "output_base_dir": folder}
    drawn["ds.figures.draw"] = {"result": results["path"]}
    result_files.write(results["basins"], folder / "read.npz")
    drawn["ds.figures.read"] = {"path": folder / "read.npz"}
    drawn["ds.figures.draw_exponents"] = {"ax": ax, "spectra": {"a": np.array([0.5, -1.0])}}
    stages = ds.figures.RefinementFrames()
    stages(results["basins"])
    drawn["ds.figures.save_refinement"] = {"stages": stages, "path": "basins.gif"}
    drawn["ds.figures.save_sequences"] = {"recording": rec, "path": "run.gif"}
    drawn["ds.figures.save_zoom"] = {"result": zoomed, "path": "zoom.gif"}
    drawn["ds.figures.draw_orbit"] = {"ax": ax, "states": d.orbit(logistic(4.0), start, iterations=5)}
    return drawn


def logistic(r: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: r * x * (1 - x)


def half(points: np.ndarray) -> np.ndarray:
    return (points[:, 0] > 0.5).astype(int)


def sign(images: torch.Tensor) -> np.ndarray:
    return (images[:, 0, 0, 0] > 0).numpy().astype(int)


class Autoencoder(torch.nn.Module):
    """A vae whose images are its latents."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(latent_channels=4, scaling_factor=1.0, block_out_channels=(4,))
        self.weight, self.dtype = torch.nn.Parameter(torch.ones(1)), torch.float32

    def decode(self, z: torch.Tensor, *, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        return (z * self.weight,)


class Config(dict[str, Any]):
    """A configuration of diffusers: its values are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Pipe:
    """The parts of a pipeline that `ds.watch` needs before the call."""

    def __init__(self, denoiser: Any) -> None:
        self.unet, self.scheduler = denoiser.network, denoiser.scheduler

    def __call__(self) -> None:
        return None


CALLBACKS = (
    "checkpoint_of",
    "label_of",
    "callback",
    "classifier",
    "objective",
    "observable",
    "progress",
    "step",
    "step_of",
    "label",
)
"""Arguments that take a function, whose own errors reach the caller."""
FUNCTIONS = ("class", "lambda", "network")
"""Values that can be called."""
COSTLY = (("ds.record", "fast", "True"),)
"""Arguments that are allowed and take long."""


def trials(calls: dict[str, Call]) -> list[tuple[str, str, str]]:
    """Every (function, argument, value) by names."""
    every = [
        (name, argument, value) for name, call in calls.items() for argument in call.names for value in WRONG
    ]
    own = {(argument, value) for argument in CALLBACKS for value in FUNCTIONS}
    return [trial for trial in every if trial[1:] not in own and trial not in COSTLY]


def fault(call: Call, changes: dict[str, str]) -> str | None:
    """The fault of a call with replaced arguments; None if it succeeds or is refused in one line."""
    values = {argument: WRONG[value]() for argument, value in changes.items()}
    try:
        result = call.function(**{**call.arguments, **values})
        if inspect.isgenerator(result):
            list(result)
        if hasattr(result, "__enter__"):
            with result:
                pass
    except ds.UserError as error:
        message = str(error)
        return None if message and message.splitlines() == [message] else f"not one line: {message!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "3": lambda: 3,
    "-1": lambda: -1,
    "1.5": lambda: 1.5,
    "huge": lambda: 10**30,
    "nan": lambda: math.nan,
    "text": lambda: "x",
    "empty text": lambda: "",
    "lines": lambda: "a\nb",
    "bytes": lambda: b"x",
    "list": lambda: [],
    "nested": lambda: [[1, 2], [3]],
    "texts": lambda: ["a", 1],
    "dict": lambda: {"a": 1},
    "generator": lambda: (number for number in range(3)),
    "object": lambda: object(),
    "class": lambda: int,
    "lambda": lambda: lambda *_: None,
    "module": lambda: math,
    "network": lambda: torch.nn.Linear(2, 2),
    "objects": lambda: np.array([object(), None], dtype=object),
    "scalar": lambda: np.float64(2.0),
    "rank 0": lambda: torch.tensor(1.0),
    "rank 1": lambda: np.arange(5.0),
    "rank 6": lambda: torch.zeros(1, 1, 1, 1, 1, 2),
    "empty array": lambda: np.zeros((0, 3)),
    "nan array": lambda: np.full((2, *SHAPE), np.nan),
    "masked": lambda: np.ma.masked_equal(np.arange(6.0).reshape(2, 3), 2),
    "complex": lambda: torch.zeros(2, 2, dtype=torch.complex64),
    "texts array": lambda: np.array(["a", "b"]),
    "dataset": lambda: xarray.Dataset({"a": ("b", [1.0])}),
    "data array": lambda: xarray.DataArray(np.zeros((40, 40)), dims=("a", "b")),
    "path": lambda: Path("nowhere"),
    "surrogate": lambda: "\udcff",
    "null character": lambda: "a\0b",
}
"""Values by name, made for each call."""
