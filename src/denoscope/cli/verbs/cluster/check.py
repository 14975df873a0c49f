"""`denoscope cluster check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import MODEL
from denoscope.cli.from_settings import load, workers_of
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.cluster.source import ALLOWED
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled


@dataclass(frozen=True)
class CheckFlags(OwnFlags):
    """What is checked beside the workers."""

    output: Path | None = option(
        None, "Where a recording would be written: also check that all workers can.", takes_url=True
    )


def run(settings: Settings, flags: CheckFlags) -> None:
    if settings.system.cluster is None:
        raise UserError(f"{spelled('cluster')} is None; allowed: {ALLOWED}")
    from denoscope.cluster.lost_scheduler import lost_reported
    from denoscope.recording.verify.cluster import cluster
    from denoscope.sampling.settings import Loop
    from denoscope.storage.places import parse_place

    inference = settings.inference
    out = None if flags.output is None else parse_place(flags.output)
    loop = Loop(steps=inference.num_steps, lanes=inference.lanes, noise_seed=settings.system.seed)
    denoiser = load(settings)
    with workers_of(settings) as client:
        assert client is not None
        with lost_reported(client, "nothing was compared"):
            report = cluster(denoiser, client, loop, out)
    print(report)
    if not report.sound:
        raise SystemExit(1)


VERB = Verb(
    run,
    "Show what each worker of a cluster sees, and whether all compute the same bits.",
    {"system": "cluster device threads seed", "model": MODEL, "inference": "num_steps lanes"},
    CheckFlags,
    defaults={"cluster": "local", "num_steps": 10},
)
