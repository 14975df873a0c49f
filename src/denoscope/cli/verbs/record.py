"""`denoscope record`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from denoscope.cli.flag_groups import CLUSTER, MODEL
from denoscope.cli.from_settings import check_shape, load, read_noises, workers_of
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import InferenceConfig, Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class RecordFlags(OwnFlags):
    """Whether to record at all."""

    dry_run: bool = option(False, "Print the plan with its size on disk, and stop.")


def run(settings: Settings, flags: RecordFlags) -> None:
    from denoscope.cli import progress
    from denoscope.recording.arguments import parse_output
    from denoscope.recording.job import Job

    system = settings.system
    denoiser = load(settings)
    # These are not flags of this command; only a config.py can set them.
    check_shape(settings, denoiser.shape, spelled="GenerationConfig.{}".format)
    x = read_noises(settings, denoiser)
    place = parse_output(system.output, settings.inference)
    job = Job.prepared(denoiser, x, place, settings.inference, system.seed)
    if system.cluster is not None:
        job.check_for_workers()
    if flags.dry_run:
        print(progress.describe(job.plan, job.out))
        job.check()
        return
    with workers_of(settings) as client:
        if client is None:
            job.run(progress.Console())
        else:
            from denoscope.recording.cluster_run import ClusterRun

            ClusterRun(job, client, progress.Console(), system.allow_different_devices).record()
    print(f"recorded in {job.out}")


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
