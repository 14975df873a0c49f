"""`denoscope dynamics uncertainty`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.flag_groups import CLASSIFIED_PLANE, MapLanesFlags
from denoscope.cli.from_settings import (
    check_classifier,
    load_with_condition,
    model_shape,
    plane_of,
    workers_of,
)
from denoscope.cli.output import JSON, NPZ, CheckpointFlags, PictureFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import PLANE_ARGUMENTS, Settings
from denoscope.foundation.checked import at_least, option

if TYPE_CHECKING:
    from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent
    from denoscope.foundation.checkpoint import Checkpoint


@dataclass(frozen=True)
class UncertaintyFlags(MapLanesFlags, CheckpointFlags, PictureFlags):
    """How many points of the plane are classified, and how far around each."""

    epsilons: tuple[float, ...] = option(
        (0.1, 0.3, 1.0, 3.0, 10.0), "Distances (L2) from each point to the neighbours that are classified."
    )
    points: int = option(400, "Points, drawn at random from the plane.", at_least(2))
    output: Path = option(Path("uncertainty.json"), "Output file: the exponent and its provenance.", JSON)
    checkpoint: Path = option(
        Path("uncertainty.npz"), "File of the finished labels, from which --resume continues.", NPZ
    )


def run(settings: Settings, flags: UncertaintyFlags) -> None:
    with flags.checkpointed(
        settings.inference, "uncertainty", unit="label", saved=flags.checkpoint
    ) as checkpoint:
        from denoscope import figures

        result = _measure(settings, flags, checkpoint)
    write_json(flags.output, result.to_dict())
    flags.draw(figures.draw_uncertainty, result)
    for epsilon, share, (low, high) in zip(
        result.epsilons, result.fractions, result.fraction_intervals, strict=True
    ):
        print(f"epsilon {epsilon:<8g} uncertain {share:7.2%}  [{low:.2%}, {high:.2%}]")
    if result.interval is not None:
        low, high = result.interval
        print(f"uncertainty exponent {result.value:.3f}  [{low:.3f}, {high:.3f}]")
    warn(result.warnings)
    flags.print_paths()


def _measure(settings: Settings, flags: UncertaintyFlags, checkpoint: Checkpoint) -> UncertaintyExponent:
    import numpy as np

    from denoscope import basins, dynamics

    inference, classifier, seed = settings.inference, settings.classifier, settings.system.seed
    plane = plane_of(settings, model_shape(settings))
    check_classifier(settings, plane.shape)
    denoiser, condition = load_with_condition(settings)
    low, high = (np.array([end(plane.coords[axis]) for axis in "uv"]) for end in (np.min, np.max))
    with workers_of(settings) as client:
        label_of = basins.label_of(
            denoiser,
            plane,
            steps=inference.num_steps,
            classifier=classifier.classifier_weights or classifier.classifier,
            reject=classifier.reject,
            lanes=flags.lanes,
            noise_seed=seed,
            condition=condition,
            streams=checkpoint.streams,
            cluster=client,
            allow_different_devices=settings.system.allow_different_devices,
        )
        return dynamics.uncertainty_exponent(
            label_of,
            np.random.default_rng(seed).uniform(low, high, (flags.points, 2)),
            flags.epsilons,
            seed=seed,
            batch_size=label_of.rows_together(inference.batch_size),
            checkpoint=checkpoint,
        )


VERB = Verb(
    run,
    "Measure how the share of noises of uncertain class falls with the distance: the uncertainty exponent.",
    CLASSIFIED_PLANE,
    UncertaintyFlags,
    arguments=PLANE_ARGUMENTS,
)
