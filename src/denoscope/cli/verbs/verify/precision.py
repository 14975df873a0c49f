"""`denoscope verify precision`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import MODEL
from denoscope.cli.from_settings import load
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import InferenceConfig, ModelConfig, Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError

OPTIONS = "layers lanes sampler_dtype fast tf32"
"""Options on which a noise floor depends."""


@dataclass(frozen=True)
class PrecisionFlags(OwnFlags):
    """Whose noise floor is measured."""

    path: Path | None = option(
        None, "A recording: measure with its model and options, and write the floor into it.", takes_url=True
    )


def run(settings: Settings, flags: PrecisionFlags) -> None:
    from denoscope.recording import opening, verify

    if flags.path:
        if (settings.model, settings.inference) != (ModelConfig(), InferenceConfig()):
            raise UserError(
                "--path measures with the recording's own model and options; leave out the other flags"
            )
        floor = verify.precision_of(opening.open(flags.path), device=settings.system.device)
        opening.set_attribute(flags.path, "noise_floor", floor.to_dict())
    else:
        options = settings.inference
        chosen = {name: getattr(options, name) for name in OPTIONS.split()}
        floor = verify.precision(load(settings), steps=options.num_steps, **chosen)
    print(floor)
    print(f"noise floor of {flags.path or settings.model.model}: {floor.value:.3g}")


VERB = Verb(
    run,
    "Measure the noise floor: what rounding alone does to a trajectory.",
    {"system": "device threads", "model": MODEL, "inference": f"num_steps {OPTIONS}"},
    PrecisionFlags,
)
