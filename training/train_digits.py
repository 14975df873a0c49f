"""Train the bundled `digits` and `digits-conditional` denoisers: UNets of 8×8 images that predict the noise."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from training.digits_data import dequantised
from training.split import Split
from training.train_unet import TIMESTEPS, alphas_cumprod

ARCHITECTURE = dict(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    block_out_channels=(16, 32),
    layers_per_block=1,
    norm_num_groups=8,
    attention_head_dim=8,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
STEPS_A_LINE = 500
"""Steps whose mean loss is one entry of the loss curve."""
CLASSES = 10
"""Digits; the null class of the conditional model comes after them."""


@dataclass(frozen=True)
class Recipe:
    """How the denoiser is trained; the model card repeats it."""

    steps: int = 40_000
    batch_size: int = 128
    learning_rate: float = 2e-3
    ema: float = 0.9995
    label_dropout: float = 0.15
    conditional: bool = False
    seed: int = 0


class Training:
    """The state of one training run: everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe):
        from diffusers import UNet2DModel

        torch.manual_seed(recipe.seed)
        classes = {"num_class_embeds": CLASSES + 1} if recipe.conditional else {}
        self.recipe = recipe
        self.model: Any = UNet2DModel(**ARCHITECTURE, **classes).train()
        self.average: Any = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=recipe.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps
        )
        self.step = 0
        self.losses: list[float] = []

    def advance(self, data: Split, count: int) -> float:
        """Take `count` steps; returns their mean loss."""
        total, recipe = 0.0, self.recipe
        for _ in range(count):
            loss = self._loss(data)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            decay = min(recipe.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(
                list(self.average.parameters()), [p.detach() for p in self.model.parameters()], 1 - decay
            )
            self.step += 1
            total += loss.item()
        self.losses.append(total / count)
        return self.losses[-1]

    def _loss(self, data: Split) -> torch.Tensor:
        """The mean squared error of the predicted noise on one batch, drawn from the seed and the step."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        images, labels = data
        rows = torch.randint(len(images), (recipe.batch_size,), generator=generator)
        x_0, noise = (
            dequantised(images[rows], generator),
            torch.randn(recipe.batch_size, 1, 8, 8, generator=generator),
        )
        offset = torch.rand((), generator=generator)
        t = (
            ((torch.arange(recipe.batch_size) + offset) / recipe.batch_size * TIMESTEPS)
            .long()
            .clamp(max=TIMESTEPS - 1)
        )
        level = alphas_cumprod()[t].view(-1, 1, 1, 1)
        x_t = level.sqrt() * x_0 + (1 - level).sqrt() * noise
        inputs = {}
        if recipe.conditional:
            dropped = torch.rand(recipe.batch_size, generator=generator) < recipe.label_dropout
            inputs["class_labels"] = torch.where(dropped, CLASSES, labels[rows])
        return (self.model(x_t, t, **inputs).sample - noise).square().mean()

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "step": self.step,
                "losses": self.losses,
            },
            partial,
        )
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step, self.losses = state["step"], state["losses"]


def train(data: Split, out: Path, recipe: Recipe, *, steps_a_line: int = STEPS_A_LINE) -> Training:
    """Train to the end of the recipe; resumes `out/checkpoint.pt` if it exists."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, training = out / "checkpoint.pt", Training(recipe)
    if checkpoint.exists():
        training.load(checkpoint)
    while training.step < recipe.steps:
        start = time.perf_counter()
        loss = training.advance(data, min(steps_a_line, recipe.steps - training.step))
        rate = steps_a_line / (time.perf_counter() - start)
        print(f"step {training.step}/{recipe.steps} loss {loss:.5f} {rate:.1f} steps/s", flush=True)
        training.save(checkpoint)
    save_denoiser(training.average, out)
    save_history(recipe, training.losses, out)
    return training


def save_denoiser(model: Any, folder: Path) -> None:
    """Write a network and its scheduler in diffusers' layout."""
    from diffusers import DDIMScheduler

    model.register_to_config(_name_or_path=folder.name)
    conditional = model.config.num_class_embeds is not None
    if conditional:
        model.register_to_config(_null_class=CLASSES)
    model.save_pretrained(folder)
    # Clipping changes x_0 and keeps ε, which ruins samples under guidance.
    scheduler = DDIMScheduler(
        num_train_timesteps=TIMESTEPS, beta_schedule="linear", clip_sample=not conditional
    )
    scheduler.save_pretrained(folder)
    index = {
        "_class_name": "DDIMPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")


def save_history(recipe: Recipe, losses: list[float], folder: Path) -> None:
    """Write the recipe and the loss curve as training.json."""
    content = {"recipe": asdict(recipe), "losses": losses}
    (folder / "training.json").write_text(json.dumps(content, indent=1) + "\n")
