"""`denoscope dynamics similarity`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, PictureFlags, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from denoscope.recording.recording import Recording


@dataclass(frozen=True)
class SimilarityFlags(PictureFlags):
    """Which layers and steps of which recording are compared."""

    path: Path = option(Path("run.zarr"), "A recording with layers.", positional=True, takes_url=True)
    layers: tuple[str, ...] = option((), "Layers; by default all that were recorded.")
    steps: tuple[int, ...] = option((-1,), "Steps in which they are compared; -1 is the last.")
    output: Path = option(Path("similarity.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, flags: SimilarityFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        from denoscope import dynamics, figures
        from denoscope.recording import opening

        rec = opening.open(flags.path)
        states = _states(rec, flags.layers, flags.steps)
        result = dynamics.cka_matrix(list(states.values()), names=list(states))
    names = list(states)
    write_measured(flags.output, rec.origin, result.to_dict())
    flags.draw(figures.draw_similarity, result)
    for row, name in enumerate(names):
        others = result.debiased[row].copy()
        others[row] = -math.inf
        nearest = int(others.argmax())
        print(f"{name}  most like {names[nearest]}: linear CKA {others[nearest]:.3f}, debiased")
    warn(result.warnings)
    flags.print_paths()


def _states(rec: Recording, layers: Sequence[str], steps: Sequence[int]) -> dict[str, np.ndarray]:
    """The states [sample, …] by the name of their layer, and of their step if there are several.

    Raises: UserError if a layer or step was not recorded, there are fewer than two sets to compare, or the
        recording is unfinished or damaged.
    """
    from denoscope.recording.completeness import check_finished

    recorded = [int(step) for step in rec.dataset["step"].to_numpy()]
    if unknown := [layer for layer in layers if layer not in rec.states]:
        raise UserError(
            f"--layers: {rec.path} has no layer {unknown[0]!r}; it has {', '.join(rec.states) or 'none'}"
        )
    if missing := [step for step in steps if step not in (-1, *recorded)]:
        raise UserError(
            f"--steps: {rec.path} holds no states of step {missing[0]}; it has {', '.join(map(str, recorded))}"
        )
    chosen = list(dict.fromkeys(layers)) or list(rec.states)
    at = list(dict.fromkeys(recorded[-1] if step == -1 else step for step in steps))
    if len(chosen) * len(at) < 2:
        raise UserError(
            f"{' '.join(chosen) or 'no layer'} in one step leaves nothing to compare; name several --layers or --steps"
        )
    check_finished(rec)
    rec.check(*chosen)
    return {
        f"{layer}, step {step}" if len(at) > 1 else layer: rec.states[layer].sel(step=step).to_numpy()
        for layer in chosen
        for step in at
    }


VERB = Verb(
    run,
    "Measure how similar the recorded layers and steps are: linear centered kernel alignment.",
    ARRAYS,
    SimilarityFlags,
)
