"""`denoscope basins map`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CLASSIFIED_PLANE, MapLanesFlags
from denoscope.cli.from_settings import (
    check_classifier,
    load_with_condition,
    model_shape,
    plane_of,
    workers_of,
)
from denoscope.cli.output import ANIMATION, NPZ, PictureFlags, note_geometry, warn
from denoscope.cli.verb import Verb
from denoscope.cli.verbs.basins.network_rows import log_rows
from denoscope.cluster.connection import check_uncompiled
from denoscope.config import (
    ADAPTIVE_FROM,
    MAP_AUDIT,
    MAP_METHOD,
    PLANE_ARGUMENTS,
    Method,
    Settings,
)
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class MapFlags(MapLanesFlags, PictureFlags):
    """Where the map is written, and which of its cells are computed."""

    output: Path = option(Path("basins.npz"), "Output file of the map; also its checkpoint.", NPZ)
    method: Method = option(
        MAP_METHOD,
        "exact computes every cell; adaptive computes those along boundaries and fills the others; auto is adaptive from "
        f"{ADAPTIVE_FROM} cells along both axes on.",
    )
    audit: int | None = option(
        None,
        f"Number of filled cells of an adaptive map that are computed to see how many are wrong; by default {MAP_AUDIT}, or "
        "all if there are fewer.",
        at_least(0),
    )
    fast: bool = option(False, "Compile the network; changes the last bits.")
    cache: Path | None = option(
        None,
        "File of points whose labels are known, created if it does not exist: they are not computed again, also not for "
        "another grid of the same plane.",
    )
    animation: Path | None = option(
        None,
        "Animation of the map as it becomes finer, .gif or .mp4; by default there is none.",
        ANIMATION,
    )

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        return [*super().outputs, *([("--animation", self.animation)] if self.animation else [])]

    @property
    def kept(self) -> list[tuple[str, Path]]:
        return [("--cache", self.cache)] if self.cache else []

    def check(self) -> None:
        """Also refuse an animation that cannot be written."""
        super().check()
        if self.animation:
            from denoscope.figures import animation_files

            animation_files.check_path(self.animation, "animation")


def run(settings: Settings, flags: MapFlags) -> None:
    inference, classifier = settings.inference, settings.classifier
    cells = math.prod(settings.default.num_prompts_per_direction)
    with flags.checkpointed(
        inference, "map of basins", unit="cell", saved=flags.output, most=cells
    ) as checkpoint:
        from denoscope import basins, figures
        from denoscope.basins.methods import is_adaptive, parse_audit

        adaptive = is_adaptive(flags.method, settings.default.num_prompts_per_direction)
        parse_audit(flags.audit, flags.method, adaptive=adaptive, default=MAP_AUDIT)
        if settings.system.cluster is not None:
            check_uncompiled(flags.fast)
        plane, stages = plane_of(settings, model_shape(settings)), figures.RefinementFrames()
        check_classifier(settings, plane.shape)
        denoiser, condition = load_with_condition(settings)
        with workers_of(settings) as client:
            result = basins.map(
                denoiser,
                plane,
                steps=inference.num_steps,
                classifier=classifier.classifier_weights or classifier.classifier,
                reject=classifier.reject,
                method=flags.method,
                audit=flags.audit,
                batch_size=inference.batch_size,
                lanes=flags.lanes,
                noise_seed=settings.system.seed,
                condition=condition,
                fast=flags.fast,
                cache=flags.cache,
                callback=stages if flags.animation else None,
                checkpoint=checkpoint,
                cluster=client,
                allow_different_devices=settings.system.allow_different_devices,
            )
    flags.draw(figures.draw_basins, result, colors=settings.system.class_colors)
    if flags.animation:
        figures.save_refinement(stages, flags.animation, colors=settings.system.class_colors)
    note_geometry(settings.default.geometry)
    log_rows(result.attrs.get("network_rows"), result["label"].size, result.attrs["fingerprint"]["lanes"])
    warn(result.attrs["warnings"])
    flags.print_paths()


VERB = Verb(
    run,
    "Map the class that each noise of a plane becomes, with confidence and margin.",
    CLASSIFIED_PLANE,
    MapFlags,
    arguments=PLANE_ARGUMENTS,
    defaults={"geometry": "spherical", "endpoint": False},
)
