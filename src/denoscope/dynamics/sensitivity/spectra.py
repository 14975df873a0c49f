"""The leading exponents of several noises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from denoscope.cluster.connection import check_client
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.sensitivity.spectrum import Spectrum, spectrum
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.sampling.settings import NoiseKind

if TYPE_CHECKING:
    from distributed import Client


def _unsaved(_name: str) -> Checkpoint:
    return Checkpoint()


@accepts_num_steps
@arguments_checked
def spectra(
    denoiser: Denoiser,
    x_T: NoiseLike,
    k: int = 8,
    *,
    steps: int = InferenceConfig.num_steps,
    layer: str | None = None,
    step: int = -1,
    seed: int = 0,
    oversampling: int = 4,
    tolerance: float = 1e-3,
    iterations: int = 20,
    differences: bool = False,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    checkpoint_of: Callable[[str], Checkpoint] = _unsaved,
    cluster: Client | None = None,
    allow_different_devices: bool = False,
) -> Iterator[tuple[str, Spectrum]]:
    """The `spectrum` of each of several noises: its name and the result, as they are finished.

    >>> found = dict(ds.dynamics.spectra(denoiser, ds.noise.random(8, denoiser.shape, seed=0), k=4, steps=50))

    The other arguments are those of `spectrum`.

    Args:
        x_T: noises of `ds.noise`, or an array [n, C, H, W].
        checkpoint_of: the checkpoint of a noise, from its name.
        cluster: a client of workers, a dask.distributed.Client, each of which computes one spectrum at a time, with the bits
            of one process. They write the checkpoints themselves, so they must see these files under the same paths.
        allow_different_devices: let workers with different devices share the work.

    Raises: UserError as `spectrum` does; also if a worker would compute something else.
    """
    check_denoiser(denoiser)
    x = as_noises(x_T, shape=denoiser.shape, name="x_T")
    check_client(cluster, allow_different_devices=allow_different_devices)
    options: dict[str, Any] = {
        "k": k,
        "steps": steps,
        "layer": layer,
        "step": step,
        "seed": seed,
        "oversampling": oversampling,
        "tolerance": tolerance,
        "iterations": iterations,
        "differences": differences,
        "noise": noise,
        "noise_seed": noise_seed,
        "condition": condition,
    }
    if cluster is not None:
        from denoscope.dynamics.sensitivity.cluster_spectra import spectra_by

        return spectra_by(
            cluster, denoiser, x, options, checkpoint_of, allow_different_devices=allow_different_devices
        )
    return (
        (name, spectrum(denoiser, x.batch([index]), name=name, checkpoint=checkpoint_of(name), **options))
        for index, name in enumerate(x.names)
    )
