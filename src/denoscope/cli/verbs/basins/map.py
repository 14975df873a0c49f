"""`denoscope basins map`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CLASSIFIED_PLANE, PLANE_ARGUMENTS
from denoscope.cli.from_settings import load, plane_of
from denoscope.cli.output import NPZ, Pictured, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class MapFlags(Pictured):
    """Where the map is written."""

    output: Path = option(Path("basins.npz"), "Output file of the map; also its checkpoint.", NPZ)


def run(settings: Settings, own: MapFlags) -> None:
    inference, classifier = settings.inference, settings.classifier
    with own.working(inference, "map of basins", unit="cell", saved=own.output) as checkpoint:
        from denoscope import basins, figures

        denoiser = load(settings)
        result = basins.map(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            classifier=classifier.classifier_weights or "lenet",
            reject=classifier.reject,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_basins, result, colors=settings.system.class_colors)
    warn(result.attrs["warnings"])
    own.print_paths()


VERB = Verb(
    run,
    "Map the class that each noise of a plane becomes, with confidence and margin.",
    CLASSIFIED_PLANE,
    MapFlags,
    arguments=PLANE_ARGUMENTS,
)
