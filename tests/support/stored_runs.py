"""The runs whose files `fixtures/b8ac056` holds, so small that all take seconds.

The script that made the fixtures and the test that opens them run these same functions, from a folder that holds
`noises/` and `recordings/`; all paths are relative to it. Class and module of a network stand in the fingerprints: they
must keep their names. Weights are plain fractions, which every processor has the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import denoscope as ds

STEPS, LANES, SHAPE = 4, 2, (1, 4, 4)


class Net(nn.Module):
    """Two convolutions of [1, 4, 4] with a curved function in between, in `dtype`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1)
        with torch.no_grad():
            for number, weight in enumerate(self.parameters(), start=3):
                values = [((7 * k + number) % 11 - 5) / 16 for k in range(weight.numel())]
                weight.copy_(torch.tensor(values).reshape(weight.shape))

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, told: torch.Tensor | None = None
    ) -> torch.Tensor:
        level = torch.as_tensor(timestep, dtype=x.dtype).reshape(-1, 1, 1, 1) / 1000
        if told is not None:
            level = level + told.reshape(-1, 1, 1, 1)
        return 0.5 * x + self.second(torch.tanh(self.first(x) + level))


@cache
def denoiser(scheduler: str = "DDIMScheduler") -> ds.Denoiser:
    """The small network with a scheduler of diffusers that clips nothing."""
    import diffusers

    options = {} if scheduler == "EulerDiscreteScheduler" else {"clip_sample": False}
    return ds.load(
        Net(), scheduler=getattr(diffusers, scheduler)(**options), shape=SHAPE, dtype="float32", device="cpu"
    )


@cache
def mnist() -> ds.Denoiser:
    return ds.load("mnist", device="cpu")


# Recordings -----------------------------------------------------------------------------------------------------------

NOISES = {
    "random": lambda: ds.noise.random(5, SHAPE, seed=7),
    "other": lambda: ds.noise.random(5, SHAPE, seed=8),
    "perturbed": lambda: ds.noise.perturbed(3, SHAPE, epsilon=0.01, base_seed=1, perturb_seed=2),
    "plane": lambda: ds.noise.plane((3, 2), SHAPE, lengths=(6.0, 4.0), base_seed=3, direction_seeds=(4, 5)),
    "digits": lambda: ds.noise.random(2, (1, 28, 28), seed=7),
    "digits_plane": lambda: ds.noise.plane((2, 2), (1, 28, 28), lengths=(60.0, 60.0)),
}
"""What made each folder of noises."""

BOTH: dict[str, Any] = {"layers": ["first", "second"]}
RECORDINGS: dict[str, dict[str, Any]] = {
    "ddim.zarr": BOTH,
    "other.zarr": BOTH | {"noises": "other"},
    "estimates.zarr": {"layers": ["first"], "extract_estimates": True},
    "euler.zarr": {"scheduler": "EulerDiscreteScheduler", "layers": ["second"]},
    "ddpm_common.zarr": {"scheduler": "DDPMScheduler", "noise": "common"},
    "ddpm_independent.zarr": {"scheduler": "DDPMScheduler", "noise": "independent"},
    "noised.zarr": BOTH
    | {"interventions": [("first", "noise", 0.25, {"steps": "1:3"}), ("second", "scale", 0.5, {})]},
    "noised_independent.zarr": {
        "scheduler": "DDPMScheduler",
        "noise": "independent",
        "layers": ["first"],
        "interventions": [("first", "noise", 0.25, {"samples": ["sample_0001", "sample_0004"]})],
    },
    "steered.zarr": {"layers": ["first", "first:before"], "intervene": Path("plans/steering.json")},
    "swapped.zarr": BOTH
    | {
        "interventions": [
            ("first", "swap", "recordings/whole/other.zarr", {"steps": "0:2"}),
            ("second", "ablate", "recordings/whole/other.zarr", {"steps": "3"}),
        ]
    },
    "guided.zarr": {"layers": ["first"], "guided": True},
    "nonfinite.zarr": {
        "layers": ["second"],
        "interventions": [("second", "scale", 3e38, {"samples": ["sample_0003"], "steps": "2"}), ("second", "scale", 10.0, {"samples": ["sample_0003"], "steps": "2"})],
    },
    "final.zarr": {"extract_states": False},
    "plane.zarr": {"noises": "plane", "layers": ["first"]},
    "perturbed.zarr": {"noises": "perturbed", "layers": ["first"]},
    "reduced.zarr": {
        "layers": ["first"], "codec": "zstd", "state_dtype": "float16", "every": (0, 3), "channels": "0:2", "flatten": True,
    },
    "projected.zarr": {"layers": ["first", "second"], "reduce": "project:3"},
    "double.zarr": {"layers": ["second"], "sampler_dtype": "float64"},
    "ddim_pt": BOTH | {"flatten": True},
    "estimates_pt": {"layers": ["first"], "extract_estimates": True},
    "ddpm_independent_pt": {"scheduler": "DDPMScheduler", "noise": "independent"},
    "noised_pt": {"layers": ["first"], "interventions": [("first", "noise", 0.25, {})]},
    "final_pt": {"extract_states": False},
}  # fmt: skip
"""Options of each recording; `noises` and `scheduler` say what is denoised, and by which scheduler."""
HALF = (
    "ddim.zarr", "ddpm_common.zarr", "ddpm_independent.zarr", "noised.zarr", "noised_independent.zarr", "steered.zarr",
    "swapped.zarr", "euler.zarr", "projected.zarr", "guided.zarr", "nonfinite.zarr", "final.zarr", "reduced.zarr", "ddim_pt", "ddpm_independent_pt", "noised_pt", "final_pt",
)  # fmt: skip
"""Recordings that are also kept half finished, ended by an exception."""
KILLED = ("ddim.zarr", "ddpm_independent.zarr", "ddim_pt", "final_pt")
"""Recordings that are also kept as a kill in their second flight left them."""


def record(name: str, out: str | Path, **more: Any) -> ds.Recording:
    """Make a recording; `more` are further options of `ds.record`."""
    options = {"noises": "random", "scheduler": "DDIMScheduler", **RECORDINGS[name], **more}
    x = ds.noise.read(Path("noises") / options.pop("noises"))
    if options.pop("guided", False):
        options["condition"] = guidance()
    written = [
        ds.Intervention(at, do, value, **rest) for at, do, value, rest in options.pop("interventions", ())
    ]
    return ds.record(
        denoiser(options.pop("scheduler")),
        x,
        out,
        steps=STEPS,
        lanes=LANES,
        batch_size=LANES,
        noise_seed=11,
        interventions=written,
        **options,
    )


def steering() -> list[ds.Intervention]:
    """What `plans/steering.json` holds."""
    return [
        ds.Intervention("first", "add", [0.5, -0.25, 0.125], steps="0:2"),
        ds.Intervention("first", "project_out", [1.0, 2.0, -1.0], samples="sample_0001"),
        ds.Intervention("second", "ablate", steps=3),
    ]


def guidance() -> ds.Condition:
    """The condition of each sample, and the empty condition."""
    return ds.Condition({"told": torch.arange(5.0).reshape(5, 1) / 8}, {"told": torch.zeros(1, 1)}, scale=2.0)


def watched(out: str | Path) -> ds.Recording:
    """A call of a tiny pipeline, recorded from outside."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=4,
            in_channels=1,
            out_channels=1,
            block_out_channels=(4,),
            layers_per_block=1,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            norm_num_groups=2,
            attention_head_dim=2,
        ).eval()
    pipe = DDIMPipeline(network, DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    with ds.watch(pipe, layers=["conv_in", "mid_block"], out=out):
        pipe(
            batch_size=2, num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="np"
        )
    return ds.open(out)


DIGITS = ["--model", "mnist", "--device", "cpu", "--num_steps", "2", "--lanes", "1", "--batch_size", "1"]
COMMANDS: dict[str, list[str]] = {
    "mnist.zarr": ["record", *DIGITS, "--inputs", "noises/digits", "--layers", "conv_out", "--every", "2"],
    "mnist_pt": ["record", *DIGITS, "--inputs", "noises/digits", "--layers", "conv_out", "--every", "2", "--flatten"],
    "mnist_plane_pt": ["record", *DIGITS, "--inputs", "noises/digits_plane", "--no-extract_states"],
}  # fmt: skip
"""Recordings of the bundled model by the command, their output left out."""
COMMANDS_HALF = ("mnist.zarr", "mnist_pt")


# Measures that save their work in a file ------------------------------------------------------------------------------


def by_mean(images: torch.Tensor) -> torch.Tensor:
    """A class of images by the sign of their mean, and of their first row."""
    return (images.mean((1, 2, 3)) > 0).long() + 2 * (images[:, :, 0].mean((1, 2)) > 0).long()


def henon(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - 1.4 * x[0] * x[0] + x[1], 0.3 * x[0]])


def logistic(rate: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: rate * x * (1 - x)


def _x_T(noises: str = "random") -> torch.Tensor:
    return ds.noise.read(Path("noises") / noises).batch([0])


def _plane() -> ds.NoiseSet:
    return ds.noise.read("noises/plane")


def _loop(level: float = 0.5, **options: Any) -> Any:
    return ds.dynamics.closed_loop(denoiser(), level, noise_seed=2, steps=STEPS, **options)


def _image() -> torch.Tensor:
    return (torch.arange(16.0) * 2 - 15).reshape(SHAPE) / 16


def _uncertainty(**kept: Any) -> Any:
    label_of = ds.basins.label_of(denoiser(), _plane(), steps=STEPS, classifier=by_mean, lanes=LANES)
    points = (torch.arange(24, dtype=torch.float64).reshape(12, 2) / 4 - 3).numpy()
    return ds.dynamics.uncertainty_exponent(label_of, points, [0.1, 0.5, 2.0], seed=1, batch_size=5, **kept)


Measure = Callable[..., Any]
MEASURES: dict[str, Measure] = {
    "spectrum": lambda **kept: ds.dynamics.spectrum(
        denoiser(), _x_T(), k=2, steps=STEPS, oversampling=0, tolerance=0.0, iterations=5, **kept
    ),
    "spectrum_of_a_layer": lambda **kept: ds.dynamics.spectrum(
        denoiser("DDPMScheduler"), _x_T(), k=2, steps=STEPS, layer="first", step=1, noise="independent",
        name="noise_0000", oversampling=0, tolerance=0.0, iterations=4, differences=True, **kept
    ),
    "full_spectrum": lambda **kept: ds.dynamics.full_spectrum(denoiser(), _x_T(), steps=STEPS, **kept),
    "plane_growth": lambda **kept: ds.dynamics.plane_growth(
        denoiser(), _plane(), steps=STEPS, batch_size=2, lanes=LANES, **kept
    ),
    "basins": lambda **kept: ds.basins.map(
        denoiser(), _plane(), steps=STEPS, classifier=by_mean, batch_size=2, lanes=LANES, **kept
    ),
    "uncertainty_exponent": _uncertainty,
    "lyapunov": lambda iterations=60, **kept: ds.dynamics.lyapunov(
        henon, torch.tensor([0.1, 0.2], dtype=torch.float64), iterations=iterations, discard=20, **kept
    ),
    "lyapunov_of_a_closed_loop": lambda **kept: ds.dynamics.lyapunov(
        _loop(), _image(), iterations=40, discard=3, k=2, **kept
    ),
    "orbit": lambda iterations=12, **kept: ds.dynamics.orbit(
        _loop(noise="common"), _image(), iterations=iterations, discard=2, **kept
    ),
    "orbit_diagram": lambda **kept: ds.dynamics.orbit_diagram(
        _loop, [0.25, 0.5, 1.0], _image(), iterations=5, discard=2, **kept
    ),
    "orbit_diagram_that_follows": lambda **kept: ds.dynamics.orbit_diagram(
        logistic, [3.2, 3.5, 5.0, 3.9], torch.tensor(0.4, dtype=torch.float64), iterations=8, discard=200, follow=True,
        **kept,
    ),
    "u_turn": lambda **kept: ds.dynamics.u_turn(
        denoiser(), ds.open("recordings/whole/ddim.zarr").final[:3], [0.25, 0.5, 1.0], draws=4, steps=STEPS, seed=3,
        label_of=by_mean, lanes=LANES, **kept,
    ),
    "commitment": lambda **kept: ds.dynamics.commitment(
        "recordings/whole/ddim.zarr", denoiser=denoiser(), label_of=by_mean, batch_size=2, **kept
    ),
    "commitment_of_estimates": lambda **kept: ds.dynamics.commitment(
        "recordings/whole/estimates_pt", label_of=by_mean, batch_size=2, **kept
    ),
    "patch": lambda **kept: ds.patch(
        denoiser(), "recordings/whole/ddim.zarr", "recordings/whole/other.zarr", steps=[0, 2], batch_size=2, **kept
    ),
    "patch_of_noised": lambda **kept: ds.patch(
        denoiser("DDPMScheduler"), "recordings/whole/noised_independent.zarr",
        "recordings/whole/noised_independent.zarr", layers=["first"], batch_size=2, **kept,
    ),
    "mnist_basins": lambda **kept: ds.basins.map(
        mnist(), ds.noise.plane((2, 2), (1, 28, 28), lengths=(60.0, 60.0)), steps=2, reject=True, batch_size=2,
        lanes=2, **kept,
    ),
}  # fmt: skip
"""Every measure that keeps what is finished in a file: a function of `out`, `resume` and `progress`."""
LONGER: dict[str, Measure] = {
    name: partial(MEASURES[name], iterations=count) for name, count in {"lyapunov": 75, "orbit": 16}.items()
}
"""Orbits that go on with finished ones to more iterations."""
ENDED_AFTER = {"mnist_basins": 2, "lyapunov": 45, "lyapunov_of_a_closed_loop": 30, "full_spectrum": 2, "spectrum": 2,
    "orbit": 7, "orbit_diagram": 15, "orbit_diagram_that_follows": 600, "uncertainty_exponent": 17,
    "spectrum_of_a_layer": 2}  # fmt: skip
"""The number reported to `progress` at which the half-way file was left; 3 unless named."""


def numbers_of(result: Any) -> dict[str, Any]:
    """A measure's result as plain JSON, without its origin."""
    if isinstance(result, torch.Tensor):
        found = {"states": result.tolist()}
    elif hasattr(result, "data_vars"):
        found = {str(name): result[name].to_numpy().tolist() for name in result.variables}
    else:
        found = {name: value for name, value in result.to_dict().items() if name != "origin"}
    return json.loads(json.dumps(found))


# Numbers that commands write ------------------------------------------------------------------------------------------

NUMBERS: dict[str, list[str]] = {
    "fractions.json": ["dynamics", "basins", "labels/plane.pt"],
    "verdict.json": ["dynamics", "verdict", "labels/plane.pt"],
    "divergence.npz": ["dynamics", "divergence", "recordings/whole/perturbed.zarr"],
    "geometry.json": ["dynamics", "geometry", "recordings/whole/ddim.zarr"],
    "distances.json": ["dynamics", "distances", "recordings/whole/ddim.zarr"],
    "similarity.json": ["dynamics", "similarity", "recordings/whole/ddim.zarr", "--layers", "first", "second"],
    "expansion.json": [
        "dynamics", "local_expansion", "--inputs", "noises/digits", "--num_steps", "2", "--k", "1", "--device", "cpu"
    ],
}  # fmt: skip
"""Files of numbers that commands write and no command goes on with, their output left out."""
PICTURED = ("divergence.npz", "geometry.json", "distances.json", "similarity.json", "expansion.json")
"""Those that come with a picture."""


def plane_of_labels() -> torch.Tensor:
    """Three classes [90, 96] with straight boundaries."""
    y, x = torch.meshgrid(torch.arange(90), torch.arange(96), indexing="ij")
    return (x + 2 * y > 140).char() + (x > 60).char()


# This machine ---------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What determines the last bits on this machine, without denoscope: results of plain PyTorch, and versions."""
    import hashlib

    import diffusers
    import numpy as np
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=28, in_channels=1, out_channels=1, block_out_channels=(32, 64), norm_num_groups=8,
            attention_head_dim=8,
            layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval()  # fmt: skip
    digest = hashlib.sha256()
    with torch.inference_mode():
        for rows in (1, 2, 8):
            x = torch.randn(rows, 1, 28, 28, generator=torch.Generator().manual_seed(rows))
            digest.update(network(x, 500).sample.numpy().tobytes())
            digest.update(Net()(x[..., :4, :4], torch.tensor(500)).numpy().tobytes())
        square = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for part in (*torch.linalg.svd(square), *torch.linalg.qr(square), torch.tanh(square), square.exp()):
            digest.update(part.contiguous().numpy().tobytes())
    return {
        "probe": digest.hexdigest(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "numpy": np.__version__,
    }
