"""`denoscope dynamics commitment`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import EARLIER_WORK
from denoscope.cli.output import NPZ, PictureFlags, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class CommitmentFlags(PictureFlags):
    """Which recording's samples are classified."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True, takes_url=True)
    output: Path = option(
        Path("commitment.npz"), "Output file: labels, steps and shares; also the checkpoint.", NPZ
    )


def run(settings: Settings, flags: CommitmentFlags) -> None:
    with flags.checkpointed(
        settings.inference, "commitment", unit="sample", saved=flags.output, reads=[flags.path]
    ) as checkpoint:
        from denoscope import dynamics, figures
        from denoscope.recording import opening

        result = dynamics.commitment(
            opening.open(flags.path), device=settings.system.device, checkpoint=checkpoint
        )
    flags.save(figures.draw(result))
    steps = result.sizes["step"]
    for step in sorted({0, steps // 4, steps // 2, 3 * steps // 4, steps - 1}):
        sigma, share = float(result["sigma"][step]), float(result["decided"][step])
        low, high = result["decided_interval"][step].values
        print(f"step {step:>4}  σ {sigma:8.3f}  decided {share:6.1%}  [{low:.1%}, {high:.1%}]")
    warn(result.attrs["warnings"])
    flags.print_paths()


VERB = Verb(
    run,
    "Find the step in which each sample of a recording is decided, by the class of its estimates of x_0.",
    {"system": "device threads", "inference": EARLIER_WORK},
    CommitmentFlags,
)
