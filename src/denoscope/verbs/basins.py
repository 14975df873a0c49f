"""`denoscope basins …`: maps of basins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.config import Settings, option
from denoscope.verbs.verb import PLANE, OwnFlags, Verb, load, plane_of, warn


@dataclass(frozen=True)
class MapFlags(OwnFlags):
    """Where the map goes."""

    output: Path = option(Path("basins.npz"), "The file of the map; what is finished is kept there.")
    picture: Path = option(Path("basins.png"), "Its picture (.png, .pdf, .svg).")


def _map(settings: Settings, own: MapFlags) -> None:
    from denoscope import basins, dynamics, plots, progress

    plots.check_library()
    denoiser, inference, asked = load(settings), settings.inference, settings.classifier
    with progress.Counter("map of basins") as told:
        found = basins.map(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            classifier=asked.classifier_weights or basins.LENET,
            reject=asked.reject,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            out=own.output,
            resume=inference.resume,
            overwrite=inference.overwrite,
            progress=told,
        )
    figure, ax = plots.figure()
    dynamics.draw_basins(ax, found, colors=settings.system.class_colors)
    plots.save(figure, own.picture)
    warn(found.attrs["warnings"])
    print(own.output, own.picture, sep="\n")


VERBS: dict[str, Verb] = {
    "basins map": Verb(
        _map,
        "Which class each noise of a plane becomes, with confidence and margin.",
        {
            "system": "device seed",
            "model": "model scheduler dtype",
            "inference": "num_steps batch_size lanes resume overwrite",
            "classifier": "classifier_weights reject",
            "default": PLANE,
        },
        MapFlags,
    ),
}
