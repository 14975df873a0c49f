"""Recording a call of any diffusers pipeline while it is made, without changing its result."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming, spelled
from denoscope.hooks.module_survey import modules_of
from denoscope.hooks.queries import choose
from denoscope.models.loading import network_of
from denoscope.recording.arguments import as_tuple, parse_output
from denoscope.recording.in_memory import MemoryWriter, check_memory
from denoscope.recording.opening import open, set_attribute
from denoscope.recording.pipelines.branches import parse_branches
from denoscope.recording.pipelines.calls import CallObserver, ObservedCall
from denoscope.recording.pipelines.watched_call import WatchedCall
from denoscope.recording.pipelines.watched_run import WatchedRun
from denoscope.recording.planning import output_of, selection_of
from denoscope.recording.recording import Recording
from denoscope.recording.runs.device_transfer import DeviceTransfer
from denoscope.recording.runs.step_recorder import StepRecorder
from denoscope.storage.formats import FORMATS, store_of, stored_format
from denoscope.storage.output_lock import Existing
from denoscope.storage.places import Place, store_at
from denoscope.storage.plan import Plan, Writer


class Watch:
    """The recording that the block of `watch` makes."""

    def __init__(self) -> None:
        self._watcher: _Watcher | None = None

    @property
    def recording(self) -> Recording:
        """The recording, once the block has ended.

        Raises: UserError inside the block, and after one that ended with an error.
        """
        if self._watcher is None:
            raise UserError("the recording is not finished; read it after the block of ds.watch")
        return self._watcher.recording()


@arguments_checked
@contextmanager
def watch(
    pipe: Any,
    *,
    layers: str | Sequence[str],
    out: str | os.PathLike[str] | None = None,
    branches: str | Sequence[str] | None = None,
    every: int | Sequence[int] = InferenceConfig.every,
    channels: str | None = InferenceConfig.channels,
    height: str | None = InferenceConfig.height,
    width: str | None = InferenceConfig.width,
    reduce: str = InferenceConfig.reduce,
    flatten: bool = InferenceConfig.flatten,
    state_dtype: Literal["auto", "float16", "float32", "float64"] = InferenceConfig.state_dtype,
    output_format: Literal["auto", "pt", "zarr"] = InferenceConfig.output_format,
    codec: Literal["none", "zstd"] = InferenceConfig.codec,
    overwrite: bool = InferenceConfig.overwrite,
) -> Iterator[Watch]:
    """Record the one call of a diffusers pipeline in the block: its sequence and the states of `layers`.

    >>> with ds.watch(pipe, layers=["mid_block"], out="run.zarr"):
    ...     pipe(prompt, num_inference_steps=50)
    >>> ds.open("run.zarr").states["mid_block"].dims
    ('sample', 'step', 'branch', 'channel', 'height', 'width')

    Without `out` the recording is held in memory:

    >>> with ds.watch(pipe, layers="mid_block") as watched:
    ...     pipe(prompt, num_inference_steps=50)
    >>> rec = watched.recording

    The pipeline's result has the same bits as without recording. `sequence` holds what the scheduler was given in each
    step and, last, what it returned: latents or, for pipelines that pack them, tokens. A layer that is not called as in
    the first step, because a cache answers for it, is NaN there and named in a warning at the end.

    Args:
        layers: queries (see `denoscope layers`), one or several; stored in the order in which the network defines them.
        out: a store NAME.zarr, or a folder, which gets one .pt file for each sample and array.
        branches: the order of the branches of guidance, such as "uncond,cond", for pipelines where it is unknown: in the
            rows of a call of the network or, if a step makes one call for each branch, in its calls.
        every, channels, height, width, reduce, flatten, state_dtype: what is stored of each state, as in `record`.
        output_format, codec, overwrite: how it is stored, as in `record`.

    Raises:
        UserError: before the call, if a layer is unknown, an argument wrong or the output taken; in the first step, if
            the branches are unknown or the disk or the memory is too small; before a second call; at the end, if the
            call made fewer steps than its scheduler was set to. What is stored then is unfinished.
    """
    options = InferenceConfig.from_arguments(
        layers=as_tuple(layers),
        every=as_tuple(every),
        channels=channels,
        height=height,
        width=width,
        reduce=reduce,
        flatten=flatten,
        state_dtype=state_dtype,
        output_format=output_format,
        codec=codec,
        overwrite=overwrite,
    )
    stated = None if branches is None else parse_branches(branches)
    watched, watcher = Watch(), _Watcher(pipe, options, parse_output(out, options), stated)
    with ExitStack() as stack:
        stack.enter_context(watcher)
        stack.enter_context(watcher.calls.observing(watcher.check_open))
        stack.enter_context(_stepping(pipe.scheduler, watcher.before_step, watcher.after_step))
        yield watched
        watcher.check_finished()
    watcher.report()
    watched._watcher = watcher


class _Watcher:
    """The recording of a pipeline's call: planned in its first step, written in every one."""

    def __init__(self, pipe: Any, options: InferenceConfig, out: Place | None, stated: Sequence[str] | None):
        self.pipe, self.network, self.options, self.stated = pipe, network_of(pipe), options, stated
        _check_scheduler(pipe)
        _warn_of_training(self.network)
        self.out = None if out is None else output_of(out, options)
        self._given_out = out
        self._check_output()
        self.selection = selection_of(options, SystemConfig.seed)
        with naming("layers"):
            self.calls = CallObserver(self.network, choose(options.layers, modules_of(self.network)))
        self.run: WatchedRun | None = None
        self.memory: MemoryWriter | None = None
        self.stack = ExitStack()

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """After an error, leave the recording unfinished; the writer does not see the error itself."""
        if kind is not None:
            with suppress(_Abandoned), self.stack:
                raise _Abandoned

    def check_open(self) -> None:
        """Refuse calls of the network after the pipeline's last step."""
        if self.run is not None and self.run.finished:
            raise UserError(
                f"{self._place} holds one call of the pipeline, and this is another; give it a block of its own: "
                "with ds.watch(…)"
            )

    def before_step(self, timestep: Any, x: torch.Tensor) -> None:
        self.check_open()
        calls, value = self.calls.take(), float(torch.as_tensor(timestep).reshape(-1)[0])
        with self._writing():
            if self.run is None:
                self.run = self._begin(value, x, calls)
            self.run.before_step(value, x, calls)

    def after_step(self, x: torch.Tensor) -> None:
        assert self.run is not None
        with self._writing():
            self.run.after_step(x)
            self.calls.reading = self.run.records
            if self.run.finished:
                self.stack.close()

    def check_finished(self) -> None:
        """Refuse a block without a call, and a call that ended early."""
        if self.run is None:
            raise UserError(
                f"nothing was recorded: no {type(self.pipe).__name__} call made a step in the block"
            )
        if not self.run.finished:
            raise UserError(
                f"the {type(self.pipe).__name__} call ended in step {self.run.step} of "
                f"{self.run.watched.steps}; {self._place} is unfinished"
            )

    def report(self) -> None:
        """Name the steps in which states are missing, in the recording and in a warning."""
        assert self.run is not None
        if missing := self.run.missing:
            if self.out is not None:
                set_attribute(self.out, "missing", missing)
            places = "; ".join(f"{name} in steps {', '.join(map(str, at))}" for name, at in missing.items())
            warnings.warn(
                f"{self._place}: states are NaN where layers were not called as in the first step: {places}",
                stacklevel=4,
            )

    def recording(self) -> Recording:
        """The finished recording."""
        if self.out is not None:
            return open(self.out)
        assert self.memory is not None and self.run is not None
        missing = {"missing": self.run.missing} if self.run.missing else {}
        return Recording(None, self.memory.dataset().assign_attrs(missing))

    @property
    def _place(self) -> str:
        return "the recording in memory" if self.out is None else str(self.out)

    def _check_output(self) -> None:
        """Refuse an output that holds a recording already, unless it may be replaced."""
        if self.out is None or self.options.overwrite:
            return
        if stored_format(store_at(self.out)):
            # Finished samples in object storage are not replaced.
            local = isinstance(self.out, Path)
            replace = f"replace it with {spelled('overwrite', True)}, or " if local else ""
            raise UserError(f"{self.out} already holds a recording; {replace}name another output")

    def _begin(self, timestep: float, x: torch.Tensor, calls: Sequence[ObservedCall]) -> WatchedRun:
        """Plan the recording from what the first step shows, and open it."""
        watched = WatchedCall.of_first_step(self.pipe, self.network, timestep, x, calls, self.stated)
        plan = watched.plan(self.options, self.selection, self._given_out)
        writer = self._open(plan)
        unit = self.stack.enter_context(writer.unit(list(plan.groups)))
        transfer = self.stack.enter_context(DeviceTransfer(x.device))
        return WatchedRun(watched, plan, StepRecorder(plan, self.selection, unit, transfer))

    def _open(self, plan: Plan) -> Writer:
        if self.out is None:
            check_memory(plan.total_bytes)
            self.memory = MemoryWriter(plan)
            return self.memory
        existing: Existing = "overwrite" if self.options.overwrite else "refuse"
        store = store_of(self.out, plan.format)
        return self.stack.enter_context(FORMATS[plan.format].writer.opened(store, plan, existing))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write {self._place}: {error.strerror or error}; the recording is unfinished"
            ) from error


class _Abandoned(Exception):
    """Ends a recording that is not finished."""


@contextmanager
def _stepping(
    scheduler: Any, before: Callable[[Any, torch.Tensor], None], after: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    """Call `before(timestep, x)` and `after(x)` around each step of this scheduler object while the block runs."""
    instance_step, step = vars(scheduler).get("step"), scheduler.step
    signature = inspect.signature(step)

    @functools.wraps(step)  # pipelines inspect the signature for the arguments that they may pass
    def watched_step(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        before(arguments["timestep"], arguments["sample"])
        result = step(*args, **kwargs)
        after(result[0])
        return result

    scheduler.step = watched_step
    try:
        yield
    finally:
        if instance_step is None:
            del scheduler.step
        else:
            scheduler.step = instance_step


def _warn_of_training(network: nn.Module) -> None:
    """Warn of modules that draw random numbers or change in each call, as they do in training mode."""
    names = [
        name for name, module in network.named_modules() if module.training and _differs_in_training(module)
    ]
    if names:
        count = "a module" if len(names) == 1 else f"{len(names)} modules"
        warnings.warn(
            f"{count} of {type(network).__name__}, such as {names[0]}, in training mode: the same call gives another result "
            "each time; call .eval() first",
            stacklevel=5,
        )


def _differs_in_training(module: nn.Module) -> bool:
    """Whether a module of PyTorch draws random numbers, or updates and ignores its statistics, in training mode."""
    if isinstance(module, _NormBase):
        return module.track_running_stats
    if isinstance(module, nn.RReLU):
        return module.lower < module.upper
    if isinstance(module, (nn.MultiheadAttention, nn.RNNBase)):
        return module.dropout > 0
    return isinstance(module, _DropoutNd) and module.p > 0


def _check_scheduler(pipe: Any) -> None:
    scheduler = getattr(pipe, "scheduler", None)
    step = getattr(scheduler, "step", None)
    if step is None or not {"timestep", "sample"} <= set(inspect.signature(step).parameters):
        raise UserError(
            f"{type(pipe).__name__} has no scheduler that steps images but {type(scheduler).__name__}; allowed: one "
            "with step(model_output, timestep, sample)"
        )
