"""`denoscope pipeline`."""

from __future__ import annotations

from dataclasses import dataclass

from denoscope.cli.flag_groups import EARLIER_WORK, PLANE
from denoscope.cli.from_settings import check_classifier, load, noise_shape, plane_of
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import PLANE_ARGUMENTS, Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class PipelineFlags(OwnFlags):
    """What is drawn beside the plane of classes."""

    generate_png: bool = option(
        False, "Also one picture for each cell, and one of all cells in their places."
    )


def run(settings: Settings, flags: PipelineFlags) -> None:
    from denoscope.cli import plane_pipeline, progress
    from denoscope.storage.watching import start

    plane = plane_of(settings, noise_shape(settings))
    check_classifier(settings, plane.shape)
    with start.announced(settings.system.output):
        written = plane_pipeline.run(
            load(settings), plane, settings, generate_png=flags.generate_png, progress=progress.Console()
        )
    print("\n".join(map(str, written)))


VERB = Verb(
    run,
    "Plane of noises → denoise → classify → coloured plane, in one go.",
    {
        "system": "output device threads seed",
        "model": "model scheduler clip_sample",
        "inference": f"num_steps batch_size lanes noise {EARLIER_WORK}",
        "generation": "image_size channels",
        "classifier": "classifier classifier_weights reject",
        "default": f"{PLANE} image_output_dir:output_base_dir",
    },
    PipelineFlags,
    arguments=PLANE_ARGUMENTS,
)
