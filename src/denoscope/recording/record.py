"""Recording what happens in a denoiser while it denoises."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from denoscope.cluster.connection import check_client
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.coercion import NoiseLike
from denoscope.recording.arguments import as_tuple, parse_output
from denoscope.recording.job import Job
from denoscope.recording.progress import NoProgress, RecordingProgress
from denoscope.recording.recording import Recording
from denoscope.storage.watching import start

if TYPE_CHECKING:
    from distributed import Client

Precision = Literal["auto", "float16", "float32", "float64"]
"""The precision in which states are stored; "auto" is that of the network."""


@accepts_num_steps
@arguments_checked
def record(
    denoiser: Denoiser,
    x: NoiseLike,
    out: str | os.PathLike[str] | None = None,
    *,
    steps: int = InferenceConfig.num_steps,
    timesteps: Sequence[float] = InferenceConfig.timesteps,
    sigmas: Sequence[float] = InferenceConfig.sigmas,
    layers: str | Sequence[str] | None = None,
    batch_size: int = InferenceConfig.batch_size,
    noise_seed: int = SystemConfig.seed,
    noise: Literal["common", "independent"] = InferenceConfig.noise,
    condition: Condition | str | os.PathLike[str] | None = None,
    labels: int | Sequence[int] = InferenceConfig.labels,
    guidance_scale: float = InferenceConfig.guidance_scale,
    branches: str | None = InferenceConfig.branches,
    interventions: Intervention | Sequence[Intervention] = (),
    intervene: str | os.PathLike[str] | None = InferenceConfig.intervene,
    extract_states: bool = InferenceConfig.extract_states,
    extract_estimates: bool = InferenceConfig.extract_estimates,
    every: int | Sequence[int] = InferenceConfig.every,
    channels: str | None = InferenceConfig.channels,
    height: str | None = InferenceConfig.height,
    width: str | None = InferenceConfig.width,
    reduce: str = InferenceConfig.reduce,
    flatten: bool = InferenceConfig.flatten,
    state_dtype: Precision = InferenceConfig.state_dtype,
    output_format: Literal["auto", "pt", "zarr"] = InferenceConfig.output_format,
    codec: Literal["none", "zstd"] = InferenceConfig.codec,
    resume: bool = InferenceConfig.resume,
    overwrite: bool = InferenceConfig.overwrite,
    on_nonfinite: Literal["mark", "stop"] = InferenceConfig.on_nonfinite,
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    fast: bool = InferenceConfig.fast,
    cluster: Client | None = None,
    allow_different_devices: bool = SystemConfig.allow_different_devices,
    progress: RecordingProgress | None = None,
) -> Recording:
    """Denoise every noise of `x`, and record its sequence and the states of `layers`.

    >>> rec = ds.record(denoiser, x, "run.zarr", steps=50, layers=["conv_in", "mid_block"], batch_size=8)
    >>> rec.states["mid_block"].dims
    ('sample', 'step', 'channel', 'height', 'width')

    Without `out` the recording is held in memory:

    >>> rec = ds.record(denoiser, x, steps=10, layers="mid_block")

    Recording changes nothing in the denoising, and nothing that is stored depends on `batch_size`.

    Args:
        x: noises of `ds.noise`, or an array [n, C, H, W] or [C, H, W] of PyTorch, NumPy or xarray.
        out: a store NAME.zarr, also at a URL such as s3://BUCKET/NAME.zarr, or a folder, which gets one .pt file for each
            sample and array.

    Args for the run:
        steps: denoising steps.
        timesteps, sigmas: a schedule of your own in place of `steps`; see `denoise`.
        batch_size: samples in flight at once, rounded up to a multiple of `lanes`.
        noise_seed: of the draws of a stochastic scheduler, and of random projections.
        noise: what a stochastic scheduler draws: "common", one draw a step for all samples, or "independent".
        condition: further inputs of the network: a Condition, or a .safetensors file of inputs by name.
        labels: the class of all samples, or one for each; in place of `condition`.
        guidance_scale: classifier-free guidance u + scale·(c − u) for labels and files; 1 means no guidance.
        branches: the order of the halves of a guided call, "uncond,cond" or "cond,uncond"; by default the model's.
        interventions: changes to the network's states, in this order; layers are read after them.
        intervene: a plan of interventions (JSON), in place of `interventions`.

    Args for what is stored:
        layers: queries (see `denoscope layers`), one or several; by default the first and the last convolution.
        extract_states: False stores the final images alone.
        extract_estimates: also store the scheduler's estimates of x_0 (`Recording.estimates`).
        every: K stores the states of every K-th step; several numbers store those of just these steps.
        channels, height, width: the part of each state that is stored, as "0:8", "::2" or "0,3,7".
        reduce: "none", "spatial_mean", "channel_mean", "norm", or "project:K" (a random projection to K numbers).
        flatten: store each state as one vector.
        state_dtype: the precision of stored states; "auto" is that of each layer (float32 for bfloat16, which NumPy lacks).

    Args for the output:
        output_format: "zarr" (one store), "pt" (one file for each sample and array), or "auto" by the name of `out`.
        codec: "zstd" compresses a store.
        resume: continue a recording that was interrupted; it must have been started with the same options.
        overwrite: replace a recording.
        on_nonfinite: whether to "mark" samples that become NaN or Inf and go on, or to "stop".

    Args for the arithmetic:
        lanes: rows of every network call, on which the last bits depend.
        sampler_dtype: the precision of the states between steps; "auto" is the network's own.
        tf32: let CUDA round the factors of products to 10 bits.
        fast: compile the network, which changes last bits.

    Args for many processes:
        cluster: a dask.distributed.Client, whose workers record the samples; see docs/scaling.md. Each loads the model by
            the name or folder that was given to `ds.load`, and computes with as many threads as this process does
            (torch.get_num_threads).
        allow_different_devices: let workers take part whose bits differ; the recording says so.

    Raises:
        UserError: before any work, if an argument is wrong, a layer unknown, the output taken, the disk or the
            memory too small, or the shape of the noises not the denoiser's.
        UnfinishedError: at the end, if workers failed to record some samples; all others are stored.
        KeyboardInterrupt: after the samples in flight are finished; `resume=True` continues from there.
    """
    given = condition if isinstance(condition, Condition) else None
    options = InferenceConfig.from_arguments(
        num_steps=steps,
        timesteps=timesteps,
        sigmas=sigmas,
        batch_size=batch_size,
        lanes=lanes,
        extract_states=extract_states,
        extract_estimates=extract_estimates,
        layers=as_tuple(layers),
        labels=as_tuple(labels),
        condition=None if given else condition,
        guidance_scale=guidance_scale,
        branches=branches,
        intervene=intervene,
        flatten=flatten,
        noise=noise,
        output_format=output_format,
        codec=codec,
        state_dtype=state_dtype,
        every=as_tuple(every),
        channels=channels,
        height=height,
        width=width,
        reduce=reduce,
        sampler_dtype=sampler_dtype,
        fast=fast,
        tf32=tf32,
        on_nonfinite=on_nonfinite,
        resume=resume,
        overwrite=overwrite,
    )
    if given and (labels != InferenceConfig.labels or guidance_scale != InferenceConfig.guidance_scale):
        raise UserError(
            f"{spelled('condition')} is a Condition, which has a scale of its own; leave out {spelled('labels')} and "
            f"{spelled('guidance_scale')}"
        )
    place = parse_output(out, options)
    check_client(cluster, allow_different_devices=allow_different_devices)
    job = Job.prepared(denoiser, x, place, options, noise_seed, given, interventions)
    if cluster is None:
        return job.run(progress)
    job.check_for_workers()
    from denoscope.recording.runs.cluster_run import ClusterRun

    assert job.out is not None
    with start.announced(job.out):
        return ClusterRun(job, cluster, progress or NoProgress(), allow_different_devices).record()
