"""How much each denoising step expands along the directions that the steps before it left."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, finite, map_of
from denoscope.dynamics.sensitivity.maps import checked_count
from denoscope.dynamics.sensitivity.spectrum import logs, one_state, origin_of
from denoscope.foundation import random_streams
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.progress import Progress
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.coercion import StateLike
from denoscope.sampling.settings import Loop, NoiseKind


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalExpansion(Result):
    """`rates` [steps, k]: the natural logarithm by which each step stretches the i-th direction of the frame; the first
    step's with that by which x_T is multiplied before it, which some schedulers (Euler) do.

    The frame is made orthonormal after each step, so that rates[:, :j].sum() is the growth of a j-dimensional volume
    over the whole map, for that one starting frame.
    """

    rates: np.ndarray


@accepts_num_steps
def local_expansion(
    denoiser: Denoiser,
    x_T: StateLike,
    k: int = 8,
    *,
    steps: int = InferenceConfig.num_steps,
    seed: int = 0,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    name: str = DenoisingMap.name,
    condition: Condition = NOTHING,
    progress: Progress | None = None,
) -> LocalExpansion:
    """The local expansion of every step along one trajectory from x_T [1, C, H, W]: QR of a frame carried along.

    Per step, in natural logarithms. How to read it: where on the way from noise to image small differences grow.
    When it misleads: the columns' sums over some fifty steps are NOT the exponents of the whole map, whose leading
    ones they miss even in sign; those are `spectrum`'s. Only a frame of all C·H·W directions has a sum (ln|det|) that
    does not depend on where it started.

    Args:
        seed: of the frame of k random directions at x_T.
        progress: is told (steps done, all of them).

    Raises: UserError if k does not fit, the scheduler remembers earlier steps, or a derivative is not finite.

    Source: Benettin et al., Meccanica 15, 9 (1980), one pass of it.
    """
    x_T, size = one_state(denoiser, x_T), math.prod(denoiser.shape)
    checked_count(k, size)
    parse_integer(seed, "seed")
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed)
    flow = map_of(denoiser, condition=condition, name=name, rows=k, loop=loop)
    flow.need_single_steps()
    drawn = [
        torch.randn(size, generator=random_streams.generator("frame", seed, index)) for index in range(k)
    ]
    frame, rates = torch.linalg.qr(torch.stack(drawn, 1).double()).Q, []
    for index, x in enumerate(flow.states(x_T)[:-1]):
        rows = frame.T.reshape(k, *denoiser.shape).to(x)
        moved = finite(flow.push_step(index, x, rows), denoiser)
        frame, triangle = torch.linalg.qr(moved.double().flatten(1).T.cpu())
        rates.append(logs(triangle.diagonal().abs()))
        if progress:
            progress(index + 1, steps)
    rates[0] += math.log(flow.first_factor)
    return LocalExpansion(rates=np.array(rates), origin=origin_of(flow, seed=seed))
