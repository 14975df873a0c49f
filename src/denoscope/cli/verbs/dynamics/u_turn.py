"""`denoscope dynamics u_turn`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.closed_loops import LEVELS_HELP, default_levels
from denoscope.cli.flag_groups import EARLIER_WORK
from denoscope.cli.output import NPZ, PictureFlags, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import xarray

    from denoscope.foundation.checkpoint import Checkpoint


@dataclass(frozen=True)
class TurnFlags(PictureFlags):
    """Which images are noised and denoised again, and how far."""

    path: Path = option(
        Path("run.zarr"), "A recording, whose x_0 are the images.", positional=True, takes_url=True
    )
    levels: tuple[float, ...] = option((), LEVELS_HELP)
    draws: int = option(16, "Noises for each image and level.", at_least(1))
    samples: int | None = option(
        None, "How many of the images, starting with the first; by default all.", at_least(1)
    )
    output: Path = option(Path("u_turn.npz"), "Output file of the curve; also its checkpoint.", NPZ)


def run(settings: Settings, flags: TurnFlags) -> None:
    with flags.checkpointed(
        settings.inference, "U-turns", unit="image", saved=flags.output, reads=[flags.path]
    ) as checkpoint:
        from denoscope import figures

        result = _measure(settings, flags, checkpoint)
    flags.save(figures.draw(result))
    columns = (result[name].values for name in ("level", "probability", "interval", "turn_distance"))
    for level, share, (low, high), distance in zip(*columns, strict=True):
        print(
            f"level {level:.2f}  same class {share:.3f}  [{low:.3f}, {high:.3f}]  distance {distance:.3g} (L2)"
        )
    warn(result.attrs["warnings"])
    flags.print_paths()


def _measure(settings: Settings, flags: TurnFlags, checkpoint: Checkpoint) -> xarray.Dataset:
    import numpy as np
    import torch

    from denoscope import dynamics
    from denoscope.dynamics.trajectories.u_turn import first_steps
    from denoscope.recording import completeness, opening, replay
    from denoscope.storage.plan import IMAGES

    rec = opening.open(flags.path)
    completeness.check_finished(rec)
    rec.check(*IMAGES)
    count = rec.final.sizes["sample"]
    if flags.samples is not None and flags.samples > count:
        raise UserError(f"--samples is {flags.samples}; allowed: 1 to {count}, the images in {flags.path}")
    steps = replay.options_of(rec).num_steps
    levels = flags.levels or default_levels(steps)
    first_steps(np.array(levels), steps)
    return dynamics.u_turn(
        replay.denoiser_of(rec, device=settings.system.device),
        torch.from_numpy(rec.final[: flags.samples].to_numpy()),
        levels,
        draws=flags.draws,
        steps=steps,
        seed=settings.system.seed,
        checkpoint=checkpoint,
    )


VERB = Verb(
    run,
    "Measure how often images return to the same class after they are noised part of the way.",
    {"system": "device threads seed", "inference": EARLIER_WORK},
    TurnFlags,
    arguments={"level": "levels"},
)
