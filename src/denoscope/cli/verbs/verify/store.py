"""`denoscope verify store`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class StoreFlags(OwnFlags):
    """Which recording is read, and how much of it is computed again."""

    path: Path = option(Path("run.zarr"), "The recording.", positional=True, takes_url=True)
    recompute: int = option(0, "Also compute this many random samples again and compare bits.", at_least(0))
    clean: bool = option(False, "First remove temporary files that killed processes have left.")
    inputs: Path | None = option(
        None, "Folder of the noises that were recorded, if the recording holds no x_T."
    )


def run(_settings: Settings, flags: StoreFlags) -> None:
    from denoscope.recording import verify

    report = verify.store(flags.path, recompute=flags.recompute, inputs=flags.inputs, clean=flags.clean)
    print(report)
    if not report.sound:
        raise SystemExit(1)


VERB = Verb(run, "Read a recording again and check every checksum.", {}, StoreFlags)
