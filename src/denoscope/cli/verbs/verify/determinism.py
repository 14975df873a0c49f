"""`denoscope verify determinism`."""

from __future__ import annotations

from denoscope.cli.flag_groups import MODEL
from denoscope.cli.from_settings import load
from denoscope.cli.verb import Verb
from denoscope.config import Settings

OPTIONS = "lanes noise sampler_dtype fast tf32"
"""Options on which the bits depend."""


def run(settings: Settings, _flags: None) -> None:
    from denoscope.recording import verify

    options = settings.inference
    chosen = {name: getattr(options, name) for name in OPTIONS.split()}
    checks = verify.determinism(load(settings), steps=options.num_steps, **chosen)
    print(f"{'way of running':<34}{'promised':<26}{'found':<14}")
    print("\n".join(map(str, checks)))
    if not all(check.holds for check in checks):
        raise SystemExit(1)


VERB = Verb(
    run,
    "Measure whether samples keep their bits whichever way they are run.",
    {"system": "device threads", "model": MODEL, "inference": f"num_steps {OPTIONS}"},
)
