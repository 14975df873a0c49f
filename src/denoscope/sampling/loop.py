"""The denoising loop: from x_T to x_0, one step at a time."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked, calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming
from denoscope.hooks.queries import as_queries
from denoscope.hooks.tapped_network import Network, TappedNetwork
from denoscope.interventions.applied import NO_INTERVENTIONS, Applied
from denoscope.interventions.operations import GIVE_NAMES
from denoscope.interventions.spec import Intervention, as_interventions
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.solver_calls import stages
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.noise.sample_names import sample_names
from denoscope.sampling.image_start import parse_image
from denoscope.sampling.lanes import Lanes
from denoscope.sampling.settings import Loop, NoiseKind, SamplerDtype
from denoscope.sampling.step import Step, joined

LOGGER = logging.getLogger(__name__)
NAMES_NEEDED = f"independent noise {GIVE_NAMES}"


@accepts_num_steps
@arguments_checked
def denoise(
    denoiser: Denoiser,
    x_T: NoiseLike,
    *,
    steps: int = InferenceConfig.num_steps,
    layers: str | Sequence[str] = (),
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    interventions: Intervention | Sequence[Intervention] = (),
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: SamplerDtype = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    timesteps: Sequence[float] = InferenceConfig.timesteps,
    sigmas: Sequence[float] = InferenceConfig.sigmas,
    image: Any = None,
    level: float | None = None,
) -> Iterator[Step]:
    """Denoise x_T [n, C, H, W], yielding one `Step` after the other.

    With a deterministic scheduler the result equals that of diffusers' own loop, bit for bit, for a batch of `lanes`
    rows: every call of the network has that many, so that the bits of a sample depend neither on n nor on its place or
    its neighbours in the batch.

    Several runs over one network may take turns or run in several threads: hooks exist only during a run's own calls
    and act only on them. In several threads all must have the same device and precision; otherwise load the network twice.

    >>> for step in denoise(denoiser, x.batch(range(4)), steps=50):
    ...     print(step.index, step.timestep, step.x_after.std())

    Args:
        x_T: noises of `ds.noise`, or a PyTorch, NumPy or xarray array [n, C, H, W] or [C, H, W].
        layers: a query or several; each `Step` carries the states of their layers.
        noise: the noise of a stochastic scheduler. "common" draws one noise a step for all samples, from
            (noise_seed, step), so that x_0 is a function of x_T alone; "independent" one for each sample, from
            (noise_seed, name, step).
        names: the samples' names; those of x_T unless given. Independent noise and interventions in named samples need
            them if x_T is a plain array.
        condition: further inputs of the network, beside x and t.
        interventions: one or several, applied in this order; states are read after them.
        lanes: rows of every network call.
        sampler_dtype: the precision of the states between steps and of the schedule; "auto" is the network's.
        tf32: let CUDA round the factors of matrix products to 10 bits.
        timesteps: decreasing timesteps, one a step, instead of those that the scheduler computes for `steps`.
        sigmas: instead of both, decreasing noise levels, one a step; a final 0 may be left out. Only some schedulers
            accept them, as in diffusers' pipelines.
        image: an image [C, H, W] from which denoising begins, as in diffusers' pipelines from image to image: the noises
            of x_T are added to it, as much of them as the first of the remaining steps takes away.
        level: the share of the steps that remain, rounded to a whole step, where an image is given; 1 keeps all steps.

    Raises:
        UserError: if the shape of x_T does not fit the denoiser, or an option is out of range.
    """
    check_denoiser(denoiser)
    loop = Loop(
        steps=steps,
        noise=noise,
        noise_seed=noise_seed,
        lanes=lanes,
        sampler_dtype=sampler_dtype,
        tf32=tf32,
        timesteps=timesteps,
        sigmas=sigmas,
        start=parse_image(denoiser, image, level, steps),
    )
    x, names = states_and_names(denoiser, x_T, names, loop)
    queries = as_queries(layers)
    with naming("layers"):
        tapped = denoiser.chosen_layers(queries, condition.inputs) if queries else []
    changes = as_interventions(interventions)
    with naming("interventions"):
        applied = loop.applied(denoiser, changes, condition)
    network = TappedNetwork(denoiser.network, denoiser.call, tapped)
    return _without_gradients(steps_of(denoiser, network, x, loop, names, condition, applied))


@accepts_num_steps
@calls_checked
def sample(
    denoiser: Denoiser,
    x_T: NoiseLike,
    *,
    steps: int = InferenceConfig.num_steps,
    layers: str | Sequence[str] = (),
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    interventions: Intervention | Sequence[Intervention] = (),
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: SamplerDtype = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    timesteps: Sequence[float] = InferenceConfig.timesteps,
    sigmas: Sequence[float] = InferenceConfig.sigmas,
    image: Any = None,
    level: float | None = None,
) -> torch.Tensor:
    """x_0 [n, C, H, W] alone, from x_T; the arguments are those of `denoise`."""
    check_denoiser(denoiser)
    x_0 = torch.empty(0)
    with denoiser.running():  # once for all steps
        for step in denoise(
            denoiser,
            x_T,
            steps=steps,
            layers=layers,
            noise=noise,
            noise_seed=noise_seed,
            names=names,
            condition=condition,
            interventions=interventions,
            lanes=lanes,
            sampler_dtype=sampler_dtype,
            tf32=tf32,
            timesteps=timesteps,
            sigmas=sigmas,
            image=image,
            level=level,
        ):
            x_0 = step.x_after
    return x_0


@torch.no_grad()
def run_loop(
    denoiser: Denoiser,
    x_T: torch.Tensor,
    loop: Loop,
    *,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    network: Network | None = None,
    watch: Callable[[int], None] = lambda _: None,
) -> torch.Tensor:
    """x_0 [n, C, H, W] from x_T [n, C, H, W], by a loop's settings.

    Args:
        network: the denoiser's, if it is tapped already.
        watch: called with the number of finished steps after each.
    """
    x_0 = x_T
    if network is None:
        network = TappedNetwork(denoiser.network, denoiser.call)
    for number, step in enumerate(steps_of(denoiser, network, x_T, loop, names, condition), 1):
        x_0 = step.x_after
        watch(number)
    return x_0


def steps_of(
    denoiser: Denoiser,
    network: Network,
    x_T: torch.Tensor,
    loop: Loop,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    applied: Applied = NO_INTERVENTIONS,
    begin: int | None = None,
) -> Iterator[Step]:
    """The loop itself over a tapped network; see `denoise`.

    With `begin`, x_T is the state before that step, `Step.x_before`, whatever the loop begins with. The scheduler must be
    able to continue from it (see `schedulers.keeps_no_history`).
    """
    running = denoiser.running()
    with running:
        names = _parse_names(denoiser, x_T, loop, names)
        denoiser.check_condition(condition, len(x_T))
        applied.check(names)
        groups = []
        for first in range(0, len(x_T), loop.lanes):
            part = range(len(x_T))[first : first + loop.lanes]
            chosen = slice(part.start, part.stop)
            groups.append(
                Lanes(denoiser, loop, x_T[chosen], names[chosen], condition.of(part), applied, begin)
            )
    first = loop.first_step if begin is None else begin
    schedule = enumerate(stages(groups[0].scheduler, loop.steps))
    for index, entries in itertools.groupby(schedule, key=lambda entry: entry[1].step):
        if index >= first:
            calls = list(entries)
            with running:
                step = joined([group.step(calls, network) for group in groups])
            yield step


def states_and_names(
    denoiser: Denoiser, x_T: NoiseLike, names: Sequence[str] | None, loop: Loop
) -> tuple[torch.Tensor, Sequence[str] | None]:
    """x_T as a tensor [n, C, H, W], and the samples' names: `names`, or those that a recording of x_T has.

    A plain array has none: if its rows were numbered, sample 5 of a recording, denoised alone, would get the noise and
    the interventions of sample 0.
    """
    x = as_noises(x_T, shape=denoiser.shape, name="x_T")
    for warning in loop.rounding_warnings(denoiser, x):
        LOGGER.warning(warning)
    if names is None and not x.has_made_up_names:
        names = sample_names(x.names)
    return x.batch(range(len(x))), names


def _without_gradients(steps: Iterator[Step]) -> Iterator[Step]:
    # Set in each step: a generator that is left half-way must not leave its setting to the caller.
    while True:
        with torch.no_grad():
            step = next(steps, None)
        if step is None:
            return
        yield step


def _parse_names(
    denoiser: Denoiser, x_T: torch.Tensor, loop: Loop, names: Sequence[str] | None
) -> Sequence[str]:
    """The samples' names, "" without any.

    Raises: UserError if they are missing or their number is wrong, or x_T does not fit the denoiser.
    """
    denoiser.check_states(x_T, "x_T")
    if names is None:
        if loop.noise == "independent":
            raise UserError(NAMES_NEEDED)
        return [""] * len(x_T)
    if len(names) != len(x_T):
        raise UserError(f"names has {len(names)} entries for {len(x_T)} samples; give one for each")
    return names
