"""The denoising loop: from x_T to x_0, one Step at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation import random_streams
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.hooks.compiled import States, Tapped
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.taps import tapped
from denoscope.interventions.applied import NONE, Writes
from denoscope.interventions.edits import Run
from denoscope.interventions.network_call import Moment
from denoscope.interventions.spec import Intervention
from denoscope.models import matmul_precision
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.scheduler_steps import begin_at, estimate_of, scaled, starting_sigma, stepped
from denoscope.models.schedulers import Scheduler
from denoscope.models.solver_calls import Stage, stages
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.noise.sample_names import sample_names

NoiseKind = Literal["common", "independent"]
NAMES_NEEDED = (
    "independent noise depends on the samples' names, which an array lacks; give names=[…], or noises with names "
    "(x.subset(…) instead of x.batch(…))"
)


@dataclass(frozen=True, eq=False)
class Step:
    """One denoising step of a batch: step `index` turned `x_before` into `x_after`.

    States x are [n, C, H, W]. `states` maps each tapped layer to what was read there: [n, …], with an axis
    [n, call, …] in front where a step calls the layer more than once, and then one for `branches` where
    guidance has two; NaN stands for a call that was not made. `model_output` and `x_0_estimate`, the
    scheduler's guess of x_0 (None where it makes none, see `schedulers.estimate_of`), belong to `x_before`: to the
    first call of the step.
    """

    index: int
    timestep: float
    sigma: float
    x_before: torch.Tensor
    x_after: torch.Tensor
    model_output: torch.Tensor
    x_0_estimate: torch.Tensor | None
    states: Mapping[str, torch.Tensor] = field(default_factory=dict)
    branches: tuple[str, ...] = ()
    calls: int = 1
    most_calls: int = 1
    """How often this step called the network, and the most that any step does: an order-2 scheduler calls it
    twice in all steps but the last."""
    skipped: tuple[str, ...] = ()
    """Layers that were not called as often as planned, whose states are NaN."""


class _Lanes:
    """Up to `lanes` samples that go through the network together, padded to exactly that many rows.

    The last bits of a network's output change with the number of rows it is called with, but not with
    a row's position or neighbours; with a fixed number of rows they cannot depend on the batch. Where
    guidance has two branches, they are the halves of one call of twice as many rows.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        x_T: torch.Tensor,
        names: Sequence[str],
        loop: Loop,
        condition: Condition,
        writes: Writes,
        begin: int | None,
    ):
        self.denoiser, self.names, self.loop, self.writes = denoiser, tuple(names), loop, writes
        dtype = loop.state_dtype(denoiser)
        self.scheduler = loop.scheduler(denoiser)
        padding = x_T[-1:].expand(loop.lanes - len(x_T), *x_T.shape[1:])
        rows = torch.cat([x_T, padding]).to(device=denoiser.device, dtype=dtype)
        self.x = rows * starting_sigma(self.scheduler) if begin is None else rows
        if begin:
            begin_at(self.scheduler, begin)
        self.branches = denoiser.branches(condition)
        self.scale = condition.scale
        like = torch.empty(0, dtype=denoiser.dtype, device=denoiser.device)
        self.inputs = condition.rows(loop.lanes, self.branches, like)

    def step(self, entries: Sequence[tuple[int, Stage]], network: Tapped, draws: _Draws) -> Step:
        """All calls of one step; `entries` are their places in the scheduler's timesteps."""
        x_before, n = self.x, len(self.names)
        calls = [self._call(index, stage, network, draws) for index, stage in entries]
        output, estimate, _, _ = calls[0]
        states = [states for _, _, states, _ in calls]
        first = entries[0][0]
        return Step(
            index=entries[0][1].step,
            timestep=float(self.scheduler.timesteps[first]),
            sigma=noise_level(self.scheduler, first),
            x_before=x_before[:n],
            x_after=self.x[:n],
            model_output=output[:n],
            x_0_estimate=None if estimate is None else estimate[:n],
            states={name: self._joined([found[name] for found in states]) for name in states[0]},
            branches=self.branches,
            calls=len(calls),
            most_calls=self.calls_a_step,
            skipped=tuple(dict.fromkeys(name for *_, skipped in calls for name in skipped)),
        )

    def _call(
        self, index: int, stage: Stage, network: Tapped, draws: _Draws
    ) -> tuple[torch.Tensor, torch.Tensor | None, States, Sequence[str]]:
        """One call of network and scheduler: model output, estimate of x_0, states, skipped layers."""
        scheduler, x, timestep = self.scheduler, self.x, self.scheduler.timesteps[index]
        moment = Moment(
            stage.step, stage.call, float(timestep), self.names, self.branches, lanes=self.loop.lanes
        )
        with matmul_precision.exact(x.device, tf32=self.loop.tf32):
            rows = scaled(scheduler, x, timestep).to(self.denoiser.dtype)
            if self.branches:
                rows = torch.cat([rows] * len(self.branches))
            self.writes.begin(moment)
            output, states = network(rows, timestep, self.inputs)
            output = self._guided(output).to(x.dtype)
            result = stepped(scheduler, index, output, x, draws.of_step(index, self.names, len(x)))
        self.x = result.prev_sample
        estimate = estimate_of(scheduler, index, output, x, result)
        return output, estimate, states, tuple(network.skipped)

    def _guided(self, output: torch.Tensor) -> torch.Tensor:
        if not self.branches:
            return output
        halves = dict(zip(self.branches, output.chunk(2), strict=True))
        return halves["uncond"] + self.scale * (halves["cond"] - halves["uncond"])

    def _joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """What a step read at one layer, [n, (call), (branch), …], from [rows, calls, …] for each call."""
        state = torch.cat(list(parts), 1) if len(parts) > 1 else parts[0]
        missing = self.calls_a_step * parts[0].shape[1] - state.shape[1]
        if missing:
            gap = state.new_full((len(state), missing, *state.shape[2:]), torch.nan)
            state = torch.cat([state, gap], 1)
        if self.branches:
            state = state.unflatten(0, (len(self.branches), -1)).movedim(0, 2)
        return (state if state.shape[1] > 1 else state.squeeze(1))[: len(self.names)]

    @cached_property
    def calls_a_step(self) -> int:
        return 1 + max(stage.call for stage in stages(self.scheduler, self.loop.steps))


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How the loop runs: everything beside the denoiser and x_T that decides its bits."""

    steps: int = InferenceConfig.num_steps
    noise: NoiseKind = InferenceConfig.noise
    noise_seed: int = SystemConfig.seed
    lanes: int = InferenceConfig.lanes
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype
    tf32: bool = InferenceConfig.tf32
    streams: int = random_streams.STREAMS_VERSION
    """The version of the random streams that noise is drawn from."""
    timesteps: Sequence[float] = InferenceConfig.timesteps
    sigmas: Sequence[float] = InferenceConfig.sigmas

    def __post_init__(self) -> None:
        parse_integer(self.steps, "steps", minimum=1)
        parse_integer(self.noise_seed, "noise_seed")
        checked = InferenceConfig.from_arguments(
            num_steps=self.steps,
            noise=self.noise,
            lanes=self.lanes,
            sampler_dtype=self.sampler_dtype,
            tf32=self.tf32,
            timesteps=self.timesteps,
            sigmas=self.sigmas,
        )
        for name, value in {
            "steps": checked.num_steps,
            "timesteps": checked.timesteps,
            "sigmas": checked.sigmas,
        }.items():
            object.__setattr__(self, name, value)
        random_streams.check_version(self.streams)

    @classmethod
    def of(
        cls, options: InferenceConfig, noise_seed: int, *, streams: int = random_streams.STREAMS_VERSION
    ) -> Loop:
        """The loop that these options ask for."""
        return cls(
            steps=options.num_steps,
            noise=options.noise,
            noise_seed=noise_seed,
            lanes=options.lanes,
            sampler_dtype=options.sampler_dtype,
            tf32=options.tf32,
            timesteps=options.timesteps,
            sigmas=options.sigmas,
            streams=streams,
        )

    def scheduler(self, denoiser: Denoiser) -> Scheduler:
        """A copy of the denoiser's scheduler, set for such a run."""
        return denoiser.new_scheduler(
            self.steps, dtype=self.state_dtype(denoiser), timesteps=self.timesteps, sigmas=self.sigmas
        )

    def writes(
        self, denoiser: Denoiser, interventions: Sequence[Intervention], condition: Condition
    ) -> Writes:
        """The interventions, resolved and checked for such a run."""
        if not interventions:
            return NONE
        return Writes.prepared(interventions, self.run(denoiser, condition), condition)

    def run(self, denoiser: Denoiser, condition: Condition) -> Run:
        """What decides, of such a run, what interventions write."""
        return Run.of(
            denoiser,
            condition,
            scheduler=self.scheduler(denoiser),
            steps=self.steps,
            noise=self.noise,
            noise_seed=self.noise_seed,
            streams=self.streams,
        )

    def state_dtype(self, denoiser: Denoiser) -> torch.dtype:
        """The precision of the states between steps."""
        return denoiser.dtype if self.sampler_dtype == "auto" else getattr(torch, self.sampler_dtype)


@dataclass(frozen=True)
class _Draws:
    """The noise of stochastic schedulers: one generator a row, so that no row depends on another."""

    kind: NoiseKind
    seed: int
    streams: int

    def of_step(self, index: int, names: Sequence[str], rows: int) -> list[torch.Generator]:
        padded = [*names, *[names[-1]] * (rows - len(names))] if self.kind == "independent" else [""] * rows
        drawn = {
            name: random_streams.stream("step noise", self.seed, index, name=name, version=self.streams)
            for name in dict.fromkeys(padded)
        }
        return [drawn[name].clone_state() for name in padded]


@accepts_num_steps
def denoise(
    denoiser: Denoiser,
    x_T: NoiseLike,
    *,
    steps: int = InferenceConfig.num_steps,
    layers: Sequence[str] = (),
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    interventions: Sequence[Intervention] = (),
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    timesteps: Sequence[float] = InferenceConfig.timesteps,
    sigmas: Sequence[float] = InferenceConfig.sigmas,
) -> Iterator[Step]:
    """Denoise x_T [n, C, H, W], yielding each Step as it is done.

    With a deterministic scheduler this is diffusers' own loop, bit for bit, for a batch of `lanes` rows:
    the network is always called with that many, so a sample's bits do not depend on n, on its place in
    the batch or on its neighbours.

    >>> for step in denoise(denoiser, x.batch(range(4)), steps=50):
    ...     print(step.index, step.timestep, step.x_after.std())

    Args:
        layers: addresses of modules whose outputs each Step carries in `states`.
        noise: what a stochastic scheduler adds. "common": one draw a step for all samples, from
            (noise_seed, step), so that x_0 is a function of x_T alone. "independent": one draw for each
            sample, from (noise_seed, name, step).
        names: of the samples; needed for independent noise and interventions in named samples if x_T is a plain array.
        condition: what the network is told beside x and t.
        interventions: what is written into the network's states on the way, in this order; `layers` are read
            behind them.
        lanes: rows of every network call.
        sampler_dtype: precision of the states between steps and of the schedule; "auto" is the network's.
        tf32: let CUDA round the factors of products to 10 bits.
        timesteps: decreasing timesteps, one a step, in place of those that the scheduler computes for `steps`.
        sigmas: in place of both, decreasing noise levels, one a step; a final 0 may be left out. Only some schedulers
            accept them, as in diffusers' pipelines.

    Raises:
        UserError: if the shape of x_T does not fit the denoiser, or an option is out of range.
    """
    check_denoiser(denoiser)
    rows, names = states_and_names(denoiser, x_T, names)
    loop = Loop(
        steps=steps,
        noise=noise,
        noise_seed=noise_seed,
        lanes=lanes,
        sampler_dtype=sampler_dtype,
        tf32=tf32,
        timesteps=timesteps,
        sigmas=sigmas,
    )
    chosen = denoiser.chosen_layers(layers, condition.inputs) if layers else []
    writes = loop.writes(denoiser, interventions, condition)
    return _denoise(denoiser, rows, loop, chosen, names, condition, writes)


@torch.no_grad()
def _denoise(
    denoiser: Denoiser,
    x_T: torch.Tensor,
    loop: Loop,
    layers: Sequence[Layer],
    names: Sequence[str] | None,
    condition: Condition,
    writes: Writes,
) -> Iterator[Step]:
    with tapped(denoiser.network, denoiser.call, layers, writes=writes.visits) as network:
        yield from steps_of(denoiser, network, x_T, loop, names, condition, writes)


def steps_of(
    denoiser: Denoiser,
    network: Tapped,
    x_T: torch.Tensor,
    loop: Loop,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    writes: Writes = NONE,
    begin: int | None = None,
) -> Iterator[Step]:
    """The loop itself, over a network that is tapped already, with the visits of `writes`; see `denoise`.

    With `begin`, what is given as x_T is the state before that step, `Step.x_before`, from which the scheduler
    must be able to go on (see `schedulers.keeps_no_history`).
    """
    names = _checked(denoiser, x_T, loop, names)
    denoiser.check_condition(condition, len(x_T))
    writes.check(names)
    draws = _Draws(loop.noise, loop.noise_seed, loop.streams)
    groups = [
        _Lanes(
            denoiser,
            x_T[first : first + loop.lanes],
            names[first : first + loop.lanes],
            loop,
            condition.of(part),
            writes,
            begin,
        )
        for first in range(0, len(x_T), loop.lanes)
        for part in [range(len(x_T))[first : first + loop.lanes]]
    ]
    planned, running = list(enumerate(stages(groups[0].scheduler, loop.steps))), denoiser.running()
    for _, entries in itertools.groupby(planned, key=lambda entry: entry[1].step):
        calls = list(entries)
        if calls[0][1].step < (begin or 0):
            continue
        with running:
            step = _joined([group.step(calls, network, draws) for group in groups])
        yield step


def states_and_names(
    denoiser: Denoiser, x_T: NoiseLike, names: Sequence[str] | None
) -> tuple[torch.Tensor, Sequence[str] | None]:
    """x_T as a tensor [n, C, H, W], and the samples' names: `names`, or those that a recording of x_T has.

    A plain array has none: if its rows were numbered, sample 5 of a recording, denoised alone, would get the noise and
    the interventions of sample 0.
    """
    x = as_noises(x_T, shape=denoiser.shape, name="x_T")
    if names is None and not x.has_made_up_names:
        names = sample_names(x.names)
    return x.batch(range(len(x))), names


def _checked(denoiser: Denoiser, x_T: torch.Tensor, loop: Loop, names: Sequence[str] | None) -> Sequence[str]:
    """The samples' names; what does not fit the denoiser is refused."""
    denoiser.check_states(x_T, "x_T")
    if names is None:
        if loop.noise == "independent":
            raise UserError(NAMES_NEEDED)
        names = [""] * len(x_T)
    if len(names) != len(x_T):
        raise UserError(f"names has {len(names)} entries for {len(x_T)} samples; give one for each")
    return names


@accepts_num_steps
def sample(denoiser: Denoiser, x_T: NoiseLike, **options: Any) -> torch.Tensor:
    """x_0 [n, C, H, W] alone, from x_T [n, C, H, W]; takes the options of `denoise`."""
    for step in denoise(denoiser, x_T, **options):
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
) -> torch.Tensor:
    """x_0 [n, C, H, W] from x_T [n, C, H, W] by a loop."""
    x_0 = x_T
    with tapped(denoiser.network, denoiser.call) as network:
        for step in steps_of(denoiser, network, x_T, loop, names, condition):
            x_0 = step.x_after
    return x_0


def noise_level(scheduler: Any, index: int) -> float:
    """The noise level σ of step `index`: √((1−ᾱ)/ᾱ), or the scheduler's own where it keeps sigmas."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and index < len(sigmas):
        return float(sigmas[index])
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return float("nan")
    level = float(alphas[int(scheduler.timesteps[index])])
    return ((1 - level) / level) ** 0.5 if level > 0 else float("inf")


def _joined(parts: list[Step]) -> Step:
    """One Step of the whole batch from those of its lanes."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    estimates = [part.x_0_estimate for part in parts]
    return Step(
        index=first.index,
        timestep=first.timestep,
        sigma=first.sigma,
        x_before=torch.cat([part.x_before for part in parts]),
        x_after=torch.cat([part.x_after for part in parts]),
        model_output=torch.cat([part.model_output for part in parts]),
        x_0_estimate=None
        if first.x_0_estimate is None
        else torch.cat([e for e in estimates if e is not None]),
        states={address: torch.cat([part.states[address] for part in parts]) for address in first.states},
        branches=first.branches,
        calls=first.calls,
        most_calls=first.most_calls,
        skipped=tuple(dict.fromkeys(name for part in parts for name in part.skipped)),
    )
