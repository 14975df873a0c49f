"""Train the bundled `mnist` denoiser: a small UNet that predicts the noise in a digit."""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

ARCHITECTURE = dict(
    sample_size=28,
    in_channels=1,
    out_channels=1,
    block_out_channels=(32, 64, 96),
    layers_per_block=1,
    norm_num_groups=8,
    attention_head_dim=16,
    down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
)
TIMESTEPS = 1000


@dataclass(frozen=True)
class Recipe:
    """How the denoiser is trained; the model card repeats it."""

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    clip_norm: float = 1.0
    ema: float = 0.999
    noise_levels: Literal["uniform", "lognormal"] = "uniform"
    seed: int = 0


def alphas_cumprod() -> torch.Tensor:
    """The linear schedule of Ho et al. (2020): betas 1e-4 … 0.02 over 1000 timesteps."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMESTEPS), 0)


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to zero."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


LOG_SIGMA_MEAN, LOG_SIGMA_DEVIATION = 0.0, 1.4
"""Of the lognormal noise levels σ = √((1 − ᾱ)/ᾱ): around where a digit takes its shape."""
DATA_DEVIATION, WEIGHT_LIMIT = 0.6, 10.0


def stratified_timesteps(
    count: int, generator: torch.Generator, noise_levels: Literal["uniform", "lognormal"]
) -> torch.Tensor:
    """One timestep from each of `count` equally probable strata: a batch always sees all noise levels."""
    offset = torch.rand((), generator=generator)
    quantile = (torch.arange(count) + offset) / count
    if noise_levels == "uniform":
        return (quantile * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
    log_sigma = LOG_SIGMA_MEAN + LOG_SIGMA_DEVIATION * torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4))
    levels = alphas_cumprod()
    return torch.searchsorted(((1 - levels) / levels).sqrt().log(), log_sigma).clamp(max=TIMESTEPS - 1)


def loss_weights(levels: torch.Tensor, noise_levels: Literal["uniform", "lognormal"]) -> torch.Tensor:
    """How much the squared error of the noise counts at each ᾱ.

    An error in the noise is a σ times larger one in the image; 1 + σ²/σ_data² (Karras et al. 2022, eq. 8,
    written for the noise) makes up for it, here up to a limit.
    """
    if noise_levels == "uniform":
        return torch.ones_like(levels)
    return (1 + (1 - levels) / levels / DATA_DEVIATION**2).clamp(max=WEIGHT_LIMIT)


class Training:
    """The state of one training run: everything that a checkpoint holds.

    The network is not compiled: in bfloat16 on CPU the compiled gradient had a cosine of 0.86 with the
    float32 gradient, the eager one 0.996 (torch 2.13), and digits trained with it were worse.
    """

    def __init__(self, images: torch.Tensor, recipe: Recipe, start: Path | None = None):
        from diffusers import UNet2DModel

        torch.manual_seed(recipe.seed)
        self.images, self.recipe = images, recipe
        former = start / "training.json" if start else None
        self.former = json.loads(former.read_text())["stages"] if former and former.exists() else []
        self.model: Any = UNet2DModel.from_pretrained(start) if start else UNet2DModel(**ARCHITECTURE)
        self.model.train()
        self.model.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=recipe.learning_rate)
        self.steps_per_epoch = len(images) // recipe.batch_size
        self.step = 0
        self.losses: list[float] = []

    def run_epoch(self) -> float:
        """Train on every image once; returns the mean loss."""
        recipe, epoch = self.recipe, self.step // self.steps_per_epoch
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        levels = alphas_cumprod()
        total_steps = recipe.epochs * self.steps_per_epoch
        start, losses = time.perf_counter(), []
        for k in range(self.steps_per_epoch):
            rows = order[k * recipe.batch_size : (k + 1) * recipe.batch_size]
            x_0 = self.images[rows]
            noise = torch.randn(x_0.shape, generator=generator)
            t = stratified_timesteps(len(rows), generator, recipe.noise_levels)
            level = levels[t].view(-1, 1, 1, 1)
            x_t = (level.sqrt() * x_0 + (1 - level).sqrt() * noise).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                predicted = self.model(x_t, t, return_dict=False)[0]
            weight = loss_weights(level, recipe.noise_levels)
            loss = (weight * (predicted.float() - noise).square()).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.step, total_steps, recipe)
            self.optimizer.step()
            self._update_average()
            self.step += 1
            losses.append(loss.item())
            if k % 50 == 49:
                rate = (k + 1) / (time.perf_counter() - start)
                recent = sum(losses[-50:]) / 50
                print(
                    f"epoch {epoch} step {k + 1}/{self.steps_per_epoch} loss {recent:.5f} {rate:.2f} steps/s",
                    flush=True,
                )
        self.losses.append(sum(losses) / len(losses))
        return self.losses[-1]

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average must forget the random start, hence the ramp.
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        targets, sources = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(targets, sources, 1 - decay)

    def save(self, path: Path) -> None:
        state = dict(
            model=self.model.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            step=self.step,
            losses=self.losses,
            recipe=asdict(self.recipe),
        )
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.losses = state["step"], state["losses"]


def train(images: torch.Tensor, out: Path, recipe: Recipe, start: Path | None = None) -> Training:
    """Train to the end of the recipe, from the weights in `start` or from random ones.

    Goes on from `out/checkpoint.pt` where one is.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    training = Training(images, recipe, start)
    if checkpoint.exists():
        training.load(checkpoint)
        print(f"going on after {training.step} steps", flush=True)
    while len(training.losses) < recipe.epochs:
        loss = training.run_epoch()
        training.save(checkpoint)
        save_denoiser(training, out)
        print(f"epoch {len(training.losses)}/{recipe.epochs}: loss {loss:.5f}", flush=True)
    return training


def average(folders: Sequence[Path], out: Path) -> None:
    """Write the denoiser whose weights are the mean of those in the folders; the last one tells how it was trained.

    Source: Wortsman et al., Model soups, ICML (2022): the mean of networks tuned from one start in different
    ways is often better than each of them.
    """
    from safetensors.torch import load_file, save_file

    name = "diffusion_pytorch_model.safetensors"
    parts = [load_file(folder / name) for folder in folders]
    mean = {key: torch.stack([part[key] for part in parts]).mean(0) for key in parts[0]}
    out.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "scheduler_config.json", "model_index.json"):
        shutil.copy(folders[-1] / file, out)
    save_file(mean, out / name, metadata={"format": "pt"})
    content = json.loads((folders[-1] / "training.json").read_text())
    content["averaged"] = len(folders)
    (out / "training.json").write_text(json.dumps(content, indent=1) + "\n")


def save_denoiser(training: Training, folder: Path) -> None:
    """Write averaged weights, scheduler and loss curve in diffusers' own layout, all in one folder."""
    from diffusers import DDIMScheduler

    model = training.average.to(memory_format=torch.contiguous_format)
    model.register_to_config(_name_or_path=folder.name)  # not the place on this machine that it came from
    model.save_pretrained(folder)
    model.to(memory_format=torch.channels_last)
    scheduler: Any = DDIMScheduler(num_train_timesteps=TIMESTEPS, beta_schedule="linear")
    scheduler.save_pretrained(folder)
    index = {
        "_class_name": "DDIMPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")
    stage = {"recipe": asdict(training.recipe), "loss_per_epoch": training.losses}
    stages = {"stages": [*training.former, stage]}
    (folder / "training.json").write_text(json.dumps(stages, indent=1) + "\n")
