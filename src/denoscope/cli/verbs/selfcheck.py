"""`denoscope selfcheck`."""

from __future__ import annotations

from dataclasses import dataclass

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class SelfcheckFlags(OwnFlags):
    """How much is checked."""

    quick: bool = option(False, "Only what takes less than a minute: a smaller plane, and no long orbits.")


def run(_settings: Settings, flags: SelfcheckFlags) -> None:
    from denoscope.dynamics.known import selfcheck

    print(selfcheck.HEAD, flush=True)
    checks = []
    for check in selfcheck.run(quick=flags.quick):
        print(check, flush=True)
        checks.append(check)
    failed = sum(not check.passes for check in checks)
    print(f"{len(checks)} quantities, {failed} failed")
    if failed:
        raise SystemExit(1)


VERB = Verb(
    run,
    "Measure systems with known values and compare: exponents, basins, dimensions, a fake fractal.",
    {"system": "threads"},
    SelfcheckFlags,
)
