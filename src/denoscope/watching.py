"""Watching a call of any diffusers pipeline: its states go to disk as they are computed, its result stays as it is."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch

from denoscope import branches as guidance
from denoscope import recording
from denoscope.addresses import choose
from denoscope.calls import Call, Calls
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import network_of
from denoscope.errors import UserError
from denoscope.job import finite, writer_of
from denoscope.layers import Layer, modules_of
from denoscope.outbox import Outbox
from denoscope.planning import kept_steps, place_of, selection_of
from denoscope.provenance import KEPT
from denoscope.selection import Selection
from denoscope.storage import pt_layout, zarr_layout
from denoscope.storage.plan import Plan, Unit
from denoscope.watched import Watched

OPTIONS = (*KEPT, "output_format", "overwrite")


@contextmanager
def watch(
    pipe: Any,
    *,
    layers: Sequence[str],
    out: str | os.PathLike[str],
    branches: Sequence[str] | None = None,
    **options: Any,
) -> Iterator[None]:
    """Record the one call of a diffusers pipeline that is made in the block: its sequence and states of `layers`.

    >>> with ds.watch(pipe, layers=["mid_block"], out="run.zarr"):
    ...     pipe(prompt, num_inference_steps=50)
    >>> ds.open("run.zarr").states["mid_block"].dims
    ('sample', 'step', 'branch', 'channel', 'height', 'width')

    The pipeline's result has the bits it has without. `sequence` holds what the scheduler was given in each step
    and, last, what it returned: latents where the pipeline has some, tokens where it packs them. A layer that is
    not called as in the first step, since a cache answers for it, is NaN there and named in a warning at the end.

    Args:
        layers: queries of what is read (see `addresses.choose`), in the order in which the network is defined.
        branches: the order of the branches of guidance, as ("uncond", "cond"), for pipelines where it is not
            known: in the rows of a call of the network or, where a step calls it for each, in its calls.
        options: of `InferenceConfig`, those that say what is kept and how: state_dtype, every, reduce, channels,
            height, width, flatten, codec, output_format, overwrite.

    Raises:
        UserError: before the call, if a layer is unknown, an option wrong or the output taken; in its first step,
            if the branches are not known or the disk is too small; in front of a second call; at the end, if
            the call made fewer steps than its scheduler was set to. What is there then is unfinished.
    """
    watcher = _Watcher(pipe, layers, Path(out), branches, options)
    with ExitStack() as stack:
        stack.enter_context(watcher)
        stack.enter_context(watcher.calls.noted(watcher.permit))
        stack.enter_context(_stepping(pipe.scheduler, watcher.before_step, watcher.after_step))
        yield
        watcher.check_finished()
    watcher.report()


class _Watcher:
    """What is done about a pipeline's call while it is made: planned in its first step, recorded in every one."""

    def __init__(
        self,
        pipe: Any,
        layers: Sequence[str],
        out: Path,
        branches: Sequence[str] | None,
        options: dict[str, Any],
    ):
        if unknown := sorted(set(options) - set(OPTIONS)):
            near = difflib.get_close_matches(unknown[0], OPTIONS, n=3, cutoff=0.0)
            raise TypeError(f"watch() has no option {unknown[0]!r}; the nearest are {', '.join(near)}")
        self.pipe, self.network, self.out = pipe, network_of(pipe), out
        _check_scheduler(pipe)
        self.options = InferenceConfig(layers=tuple(layers), **options)
        self.selection = selection_of(self.options, SystemConfig.seed)
        self.place = place_of(out, self.options)
        self.existing: Literal["overwrite", "refuse"] = "overwrite" if self.options.overwrite else "refuse"
        self._check_free()
        self.stated = None if branches is None else guidance.check(branches)
        self.calls = Calls(self.network, choose(layers, modules_of(self.network)))
        self.run: _Run | None = None
        self.stack = ExitStack()

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave what is not finished as it is; the writer need not know what went wrong."""
        if kind is not None:
            with suppress(_Abandoned), self.stack:
                raise _Abandoned

    def permit(self) -> None:
        """Refuse calls of the network behind the pipeline's last step."""
        if self.run is not None and self.run.finished:
            raise UserError(
                f"{self.place} holds one call of the pipeline, and this is another; give it a block of its own: "
                "with ds.watch(…, out=another)"
            )

    def before_step(self, timestep: Any, x: torch.Tensor) -> None:
        self.permit()
        calls, value = self.calls.taken(), float(torch.as_tensor(timestep).reshape(-1)[0])
        with self._writing():
            if self.run is None:
                self.run = self._begun(value, x, calls)
            self.run.before_step(value, x, calls)

    def after_step(self, x: torch.Tensor) -> None:
        assert self.run is not None
        with self._writing():
            self.run.after_step(x)
            self.calls.reading = self.run.keeps
            if self.run.finished:
                self.stack.close()

    def check_finished(self) -> None:
        """Refuse to call finished what is not."""
        if self.run is None:
            raise UserError(
                f"nothing was recorded: no {type(self.pipe).__name__} call made a step in the block"
            )
        if not self.run.finished:
            raise UserError(
                f"the {type(self.pipe).__name__} call ended in step {self.run.step} of "
                f"{self.run.watched.steps}; {self.place} is unfinished"
            )

    def report(self) -> None:
        """Say of which steps states are missing, there and here."""
        assert self.run is not None
        if missing := self.run.missing:
            recording.set_attribute(self.place, "missing", missing)
            told = "; ".join(f"{name} in steps {', '.join(map(str, at))}" for name, at in missing.items())
            warnings.warn(
                f"{self.place}: NaN stands where layers were not called as in the first step: {told}",
                stacklevel=4,
            )

    def _check_free(self) -> None:
        taken = any(kind.is_recording(self.place) for kind in (zarr_layout, pt_layout))
        if taken and not self.options.overwrite:
            raise UserError(
                f"{self.place} already holds a recording; replace it with overwrite=True, or name another output"
            )

    def _begun(self, timestep: float, x: torch.Tensor, calls: Sequence[Call]) -> _Run:
        watched = Watched.seen(self.pipe, self.network, timestep, x, calls, self.stated)
        plan = watched.plan(self.options, self.selection, self.out)
        writer = self.stack.enter_context(writer_of(self.place, plan, self.existing))
        unit = self.stack.enter_context(writer.unit(list(plan.groups)))
        outbox = self.stack.enter_context(Outbox(x.device))
        return _Run(watched, plan, self.selection, kept_steps(self.options, watched.steps), unit, outbox)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write {self.place}: {error.strerror or error}; the recording is unfinished"
            ) from error


class _Run:
    """A call of a pipeline on its way to the disk, one step after the other."""

    def __init__(
        self,
        watched: Watched,
        plan: Plan,
        selection: Selection,
        kept: Sequence[int],
        unit: Unit,
        outbox: Outbox,
    ):
        self.watched, self.selection, self.kept, self.unit, self.outbox = (
            watched,
            selection,
            kept,
            unit,
            outbox,
        )
        self.arrays = {array.name: array for array in plan.arrays}
        self.timesteps = watched.timesteps
        self.entry = 0
        self.states: dict[str, torch.Tensor] = {}
        self.fine: list[torch.Tensor] = []
        """Which samples were finite in what was read since the latest state, [n] each."""
        self.missing: dict[str, list[int]] = {}

    @property
    def finished(self) -> bool:
        return self.entry == len(self.watched.stages)

    @property
    def step(self) -> int:
        """The step under way."""
        return self.watched.stages[self.entry].step

    @property
    def keeps(self) -> bool:
        """Whether the states of the step under way are stored."""
        return not self.finished and self.step in self.kept

    def before_step(self, timestep: float, x: torch.Tensor, calls: Sequence[Call]) -> None:
        """Take the states x [rows, …] that the scheduler is given, and what the calls of the network showed."""
        if timestep != self.timesteps[self.entry]:
            raise UserError(
                f"the pipeline made a step from timestep {timestep:g} where that from {self.timesteps[self.entry]:g} "
                "was to come; only one call of it, which goes through the timesteps once, fits into a block"
            )
        stage = self.watched.stages[self.entry]
        if stage.call == 0 or self.entry == 0:
            self._store_sequence(x)
            self.states = {layer.address: self._nothing(layer) for layer in self._layers}
        for layer in self._layers:
            self._put(layer, stage.call, calls)

    def after_step(self, x: torch.Tensor) -> None:
        """Take the states x [rows, …] that the scheduler returned."""
        if self.watched.stages[self.entry].last:
            for name, state in self.states.items():
                self._send(name, state.reshape(len(state), *self.arrays[name].inner))
            self.states = {}
        self.entry += 1
        if self.finished:
            self._store_sequence(x)

    @property
    def _layers(self) -> Sequence[Layer]:
        """Those whose states are stored of the step under way."""
        return self.watched.layers if self.keeps else ()

    def _store_sequence(self, x: torch.Tensor) -> None:
        # A copy, since what becomes of it in the pipeline must not reach what is under way.
        x = self.watched.branches.samples(x).clone()
        self._send("sequence", x)
        fine = torch.stack([finite([x]), *self.fine]).all(0)
        self.fine = []
        self.outbox.send(fine, lambda found: self.unit.flag(~found.numpy()))

    def _send(self, name: str, rows: torch.Tensor) -> None:
        dtype = getattr(torch, str(self.arrays[name].dtype))
        self.outbox.send(rows.to(dtype), partial(self.unit.append, name))

    def _nothing(self, layer: Layer) -> torch.Tensor:
        """A layer's states of one step [n, calls, (branch), …] before any was read."""
        shape, names = self.selection.shape(layer.shape or ()), self.watched.branches.names
        calls = self.watched.calls_a_step * layer.calls
        dtype = getattr(torch, str(self.arrays[layer.address].dtype))
        leading = (len(self.watched.x_T), calls, *([len(names)] if names else []))
        return torch.full((*leading, *shape), torch.nan, dtype=dtype, device=self.watched.x_T.device)

    def _put(self, layer: Layer, call: int, calls: Sequence[Call]) -> None:
        """Put what was read of a layer in the calls that led to a call of the scheduler into its place."""
        read = [self._read(layer, made) for made in calls]
        parts = [part for part in read if part is not None]
        if len(parts) != len(read) or len(read) != self.watched.branches.calls:
            steps = self.missing.setdefault(layer.address, [])
            steps += [self.step] if self.step not in steps else []
            return
        found, place = self.watched.branches.apart(parts), call * layer.calls
        target = self.states[layer.address][:, place : place + layer.calls]
        target.copy_(found)
        self.fine.append(finite([target]))

    def _read(self, layer: Layer, call: Call) -> torch.Tensor | None:
        """What is kept of a layer in one call of the network [rows, times, …]; None if it was not as planned."""
        values = next(found for address, found in call.states.items() if str(address) == layer.address)
        # The branches are as many in all calls; a pipeline may still give up guidance on its way.
        rows = len(self.watched.x_T) * max(1, len(self.watched.branches.names)) // self.watched.branches.calls
        if [tuple(value.shape) for value in values] != [(rows, *(layer.shape or ()))] * layer.calls:
            return None
        return torch.stack([self.selection.apply(value) for value in values], 1)


class _Abandoned(Exception):
    """The end of a recording that is not finished."""


@contextmanager
def _stepping(
    scheduler: Any, before: Callable[[Any, torch.Tensor], None], after: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    """Call `before(timestep, x)` and `after(x)` around each step of this one scheduler while the block runs."""
    own, step = vars(scheduler).get("step"), scheduler.step
    signature = inspect.signature(step)

    @functools.wraps(step)  # pipelines look at the signature for what they may give
    def watched_step(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        before(given["timestep"], given["sample"])
        result = step(*args, **kwargs)
        after(result[0])
        return result

    scheduler.step = watched_step
    try:
        yield
    finally:
        if own is None:
            del scheduler.step
        else:
            scheduler.step = own


def _check_scheduler(pipe: Any) -> None:
    scheduler = getattr(pipe, "scheduler", None)
    step = getattr(scheduler, "step", None)
    if step is None or not {"timestep", "sample"} <= set(inspect.signature(step).parameters):
        raise UserError(
            f"{type(pipe).__name__} has no scheduler that steps images but {type(scheduler).__name__}; watch one "
            "with step(model_output, timestep, sample)"
        )
