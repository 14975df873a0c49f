"""`denoscope dynamics geometry`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.finished import open_with_sequences
from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, PictureFlags, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class GeometryFlags(PictureFlags):
    """Which recording's trajectories are measured."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True, takes_url=True)
    output: Path = option(Path("geometry.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, flags: GeometryFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        import numpy as np

        from denoscope import dynamics, figures

        rec = open_with_sequences(flags.path)
        trajectories = rec.sequence.to_numpy()
        path, spread = dynamics.path_geometry(trajectories), dynamics.participation(trajectories)
    flags.save(figures.draw({"path": path, "participation": spread}))
    length, chord = np.median(path.lengths), np.median(path.chords)
    print(
        f"length {length:.4g}, chord {chord:.4g}, straightness {np.nanmedian(path.straightness):.3f} "
        f"(medians of {len(trajectories)} samples, L2)"
    )
    for state in sorted({0, (len(spread.ratio) - 1) // 2, len(spread.ratio) - 1}):
        low, high = spread.intervals[state]
        print(f"state {state:>4}  participation ratio {spread.ratio[state]:.2f}  [{low:.2f}, {high:.2f}]")
    warn([*path.warnings, *spread.warnings])
    content = {"samples": rec.samples, "path": path.to_dict(), "participation": spread.to_dict()}
    write_measured(flags.output, rec.origin, content)
    flags.print_paths()


VERB = Verb(
    run, "Measure lengths, turns and dimensions of the trajectories of a recording.", ARRAYS, GeometryFlags
)
