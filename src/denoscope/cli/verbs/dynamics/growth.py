"""`denoscope dynamics growth`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CONDITION, EARLIER_WORK, FLAT_PLANE, MODEL
from denoscope.cli.from_settings import load_with_condition, model_shape, plane_of
from denoscope.cli.output import NPZ, PictureFlags, warn
from denoscope.cli.verb import Verb
from denoscope.config import PLANE_ARGUMENTS, Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class GrowthFlags(PictureFlags):
    """Where the ridge map is written."""

    output: Path = option(Path("growth.npz"), "Output file of the map; also its checkpoint.", NPZ)


def run(settings: Settings, flags: GrowthFlags) -> None:
    inference = settings.inference
    with flags.checkpointed(inference, "ridge map", unit="point", saved=flags.output) as checkpoint:
        from denoscope import dynamics, figures

        plane = plane_of(settings, model_shape(settings))
        denoiser, condition = load_with_condition(settings)
        result = dynamics.plane_growth(
            denoiser,
            plane,
            steps=inference.num_steps,
            batch_size=inference.batch_size,
            lanes=inference.lanes,
            noise_seed=settings.system.seed,
            condition=condition,
            checkpoint=checkpoint,
        )
    flags.draw(figures.draw_growth, result)
    leading = result["growth"].isel(direction=0)
    low, middle, high = (float(leading.quantile(share)) for share in (0, 0.5, 1))
    print(f"growth of the plane, ln over the whole map: {low:.2f} to {high:.2f}, median {middle:.2f}")
    warn(result.attrs["warnings"])
    flags.print_paths()


VERB = Verb(
    run,
    "Map how much x_T → x_0 stretches a plane of noises, point by point: ridges and flats.",
    {
        "system": "device threads seed",
        "model": MODEL,
        "inference": f"num_steps {CONDITION} batch_size lanes {EARLIER_WORK}",
        "default": FLAT_PLANE,
    },
    GrowthFlags,
    arguments=PLANE_ARGUMENTS,
)
