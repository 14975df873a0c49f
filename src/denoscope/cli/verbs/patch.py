"""`denoscope patch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CLUSTER, EARLIER_WORK
from denoscope.cli.from_settings import workers_of
from denoscope.cli.output import NPZ, MeasureFlags
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class PatchFlags(MeasureFlags):
    """Which recordings are patched, and where."""

    a: Path = option(Path("a.zarr"), "Recording A, whose runs are patched.", positional=True, takes_url=True)
    b: Path = option(
        Path("b.zarr"), "Recording B, whose states are put into these runs.", positional=True, takes_url=True
    )
    layers: tuple[str, ...] = option((), "Layers, by queries; by default all that B holds.")
    steps: tuple[int, ...] = option((), "Steps; by default all.")
    output: Path = option(Path("patch.npz"), "Output file of the map; also its checkpoint.", NPZ)


def run(settings: Settings, flags: PatchFlags) -> None:
    inference = settings.inference
    with flags.checkpointed(
        inference, "patching", unit="cell", saved=flags.output, reads=[flags.a, flags.b]
    ) as checkpoint:
        from denoscope.recording import opening, verify
        from denoscope.recording.patching import patch_map, patching

        a, b = opening.open(flags.a), opening.open(flags.b)
        denoiser = verify.denoiser_of(a, device=settings.system.device)
        with workers_of(settings) as client:
            result = patching.patch(
                denoiser,
                a,
                b,
                layers=flags.layers or None,
                steps=flags.steps or None,
                batch_size=inference.batch_size,
                checkpoint=checkpoint,
                cluster=client,
                allow_different_devices=settings.system.allow_different_devices,
            )
    print(patch_map.table(result))
    print(flags.output)


VERB = Verb(
    run,
    "Put one recording's states into the run of another, layer by layer and step by step.",
    {"system": f"device threads {CLUSTER}", "inference": f"batch_size {EARLIER_WORK}"},
    PatchFlags,
)
