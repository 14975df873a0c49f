"""`denoscope record`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denoscope.cli.flag_groups import CLUSTER, MODEL
from denoscope.cli.from_settings import check_shape, load, model_shape, read_noises, workers_of
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.cluster.connection import check_uncompiled
from denoscope.config import InferenceConfig, Settings
from denoscope.foundation.checked import option

if TYPE_CHECKING:
    from denoscope.noise.noise_set import NoiseSet
    from denoscope.recording.job import Job
    from denoscope.storage.places import Place


@dataclass(frozen=True)
class RecordFlags(OwnFlags):
    """Whether to record at all."""

    dry_run: bool = option(False, "Print the plan with its size on disk and its memory, and stop.")


def run(settings: Settings, flags: RecordFlags) -> None:
    from denoscope.cli import progress
    from denoscope.recording.arguments import parse_output
    from denoscope.recording.job import check_options
    from denoscope.recording.planning import output_of
    from denoscope.storage.watching import start

    system, inference = settings.system, settings.inference
    place = parse_output(system.output, inference)
    assert place is not None
    check_options(inference, place)
    if system.cluster is not None:
        check_uncompiled(inference.fast)
    shape = model_shape(settings)
    # These are not flags of this command; only a config.py can set them.
    check_shape(settings, shape, spelled="GenerationConfig.{}".format)
    x = read_noises(settings, shape)
    if flags.dry_run:
        job = _job(settings, x, place)
        print(progress.describe(job.plan, job.out, _memory(settings, job)))
        job.check()
        return
    with start.announced(output_of(place, inference)):
        job = _job(settings, x, place)
        with workers_of(settings) as client:
            if client is None:
                job.run(progress.Console())
            else:
                from denoscope.recording.runs.cluster_run import ClusterRun

                console = progress.Console(_memory(settings, job))
                ClusterRun(job, client, console, system.allow_different_devices).record()
    print(f"recorded in {job.out}")


def _job(settings: Settings, x: NoiseSet, place: Place) -> Job:
    """The recording of noises at a place, by the model that the settings name."""
    from denoscope.recording.job import Job

    job = Job.prepared(load(settings), x, place, settings.inference, settings.system.seed)
    if settings.system.cluster is not None:
        job.check_for_workers()
    return job


def _memory(settings: Settings, job: Job) -> list[str]:
    """What the workers of a recording take; nothing if this process records."""
    if settings.system.cluster is None:
        return []
    from denoscope.cluster import worker_memory

    plan, denoiser = job.plan, job.inputs.denoiser
    network = sum(tensor.nbytes for tensor in denoiser.network.state_dict().values())
    samples = min(len(plan.samples), plan.in_flight)
    return worker_memory.table(
        settings.system.cluster, denoiser.device, network=network, step=plan.held_bytes, samples=samples
    )


VERB = Verb(
    run,
    "Denoise the noises of a folder and record sequences and hidden states.",
    {
        "system": f"inputs output device threads seed {CLUSTER}",
        "model": MODEL,
        "inference": " ".join(item.name for item in dataclasses.fields(InferenceConfig)),
    },
    RecordFlags,
    output_takes_url=True,
)
