"""`denoscope basins zoom`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CLASSIFIED_PLANE, ZOOMED_PLANE, MapLanesFlags
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
from denoscope.config import (
    LEVEL_AUDIT,
    PLANE_ARGUMENTS,
    ROUNDING_CHECKS,
    ZOOM_FACTOR,
    ZOOM_METHOD,
    Method,
    Settings,
)
from denoscope.foundation.checked import at_least, option
from denoscope.foundation.spelling import naming


@dataclass(frozen=True)
class ZoomFlags(MapLanesFlags, PictureFlags):
    """Where the zoom is written, where it leads, and how deep."""

    output: Path = option(Path("zoom.npz"), "Output file of the levels; also their checkpoint.", NPZ)
    animation: Path | None = option(
        None, "Animation of the levels, .gif or .mp4; by default NAME.gif beside the output.", ANIMATION
    )
    target: tuple[float, float] | None = option(
        None, "Place (u v) in the plane near which a point of a boundary is found; by default its centre."
    )
    factor: float = option(
        ZOOM_FACTOR, "How many times smaller each level is.", ("a number above 1", lambda value: value > 1)
    )
    levels: int | None = option(
        None, "Number of levels; by default as many as the precision of the noises allows.", at_least(1)
    )
    method: Method = option(ZOOM_METHOD, "How the map of each level is computed; as for basins map.")
    audit: int | None = option(
        None,
        f"Number of filled cells of each level that are computed to see how many are wrong; by default {LEVEL_AUDIT}.",
        at_least(0),
    )
    checks: int = option(
        ROUNDING_CHECKS,
        "Number of boundary cells of each level that are denoised again to see if rounding decides.",
        at_least(1),
    )

    @property
    def animation_path(self) -> Path:
        """The animation's file."""
        return self.animation or self.output.with_suffix(".gif")

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        return [*super().outputs, ("--animation", self.animation_path)]

    def check(self) -> None:
        """Also refuse an animation that cannot be written."""
        super().check()
        from denoscope.figures import animation_files

        animation_files.check_path(self.animation_path, "animation")


def run(settings: Settings, flags: ZoomFlags) -> None:
    inference, classifier = settings.inference, settings.classifier
    with flags.checkpointed(inference, "zoom", unit="level", saved=flags.output) as checkpoint:
        from denoscope import basins, figures
        from denoscope.basins.methods import is_adaptive, parse_audit
        from denoscope.dynamics.boundaries.label_plane import doubling_boxes

        counts = settings.default.num_prompts_per_direction
        with naming("counts"):
            doubling_boxes(counts)
        adaptive = is_adaptive(flags.method, counts)
        parse_audit(flags.audit, flags.method, adaptive=adaptive, default=LEVEL_AUDIT)
        plane = plane_of(settings, model_shape(settings))
        check_classifier(settings, plane.shape)
        denoiser, condition = load_with_condition(settings)
        with workers_of(settings) as client:
            result = basins.zoom(
                denoiser,
                plane,
                target=flags.target,
                factor=flags.factor,
                levels=flags.levels,
                method=flags.method,
                audit=flags.audit,
                checks=flags.checks,
                steps=inference.num_steps,
                classifier=classifier.classifier_weights or classifier.classifier,
                reject=classifier.reject,
                batch_size=inference.batch_size,
                lanes=flags.lanes,
                noise_seed=settings.system.seed,
                condition=condition,
                checkpoint=checkpoint,
                cluster=client,
                allow_different_devices=settings.system.allow_different_devices,
            )
    for decade in range(result.sizes["decade"]):
        row = result.isel(decade=decade)
        low, high = row["decade_dimension_interval"].values
        print(
            f"half-width {float(row['decade_range'][0]):.1e}: dimension {float(row['decade_dimension']):.2f} "
            f"[{low:.2f}, {high:.2f}], {_verdict(row['verdict'].item(), row['shown'].item())}"
        )
    print(f"stopped after {result.sizes['level']} levels: {result.attrs['stopped']}")
    flags.draw(figures.draw_zoom, result)
    figures.save_zoom(result, flags.animation_path, colors=settings.system.class_colors)
    note_geometry(settings.default.geometry)
    log_rows(int(result["network_rows"].sum()), result["label"].size, result.attrs["fingerprint"]["lanes"])
    warn(result.attrs["warnings"])
    flags.print_paths()


def _verdict(verdict: str, shown: str) -> str:
    return verdict if verdict == shown else f"{verdict} (the maps show: {shown})"


VERB = Verb(
    run,
    "Zoom into a boundary between basins, with its dimension at each decade of lengths.",
    {**CLASSIFIED_PLANE, "default": ZOOMED_PLANE},
    ZoomFlags,
    arguments=PLANE_ARGUMENTS,
    defaults={"geometry": "spherical"},
)
