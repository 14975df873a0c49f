"""`denoscope dynamics growth`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import MODEL, PLANE, PLANE_ARGUMENTS, SAVED
from denoscope.cli.from_settings import load, plane_of
from denoscope.cli.output import NPZ, Pictured, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class GrowthFlags(Pictured):
    """Where the ridge map is written."""

    output: Path = option(Path("growth.npz"), "Output file of the map; also its checkpoint.", NPZ)


def run(settings: Settings, own: GrowthFlags) -> None:
    inference = settings.inference
    with own.working(inference, "ridge map", unit="point", saved=own.output) as checkpoint:
        from denoscope import dynamics, figures

        denoiser = load(settings)
        result = dynamics.plane_growth(
            denoiser,
            plane_of(settings, denoiser.shape),
            steps=inference.num_steps,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            checkpoint=checkpoint,
        )
    own.draw(figures.draw_growth, result)
    leading = result["growth"].isel(direction=0)
    low, middle, high = (float(leading.quantile(share)) for share in (0, 0.5, 1))
    print(f"growth of the plane, ln over the whole map: {low:.2f} to {high:.2f}, median {middle:.2f}")
    warn(result.attrs["warnings"])
    own.print_paths()


VERB = Verb(
    run,
    "Map how much x_T → x_0 stretches a plane of noises, point by point: ridges and flats.",
    {
        "system": "device threads seed",
        "model": MODEL,
        "inference": f"num_steps batch_size lanes {SAVED}",
        "default": PLANE,
    },
    GrowthFlags,
    arguments=PLANE_ARGUMENTS,
)
