"""Watching a call of any diffusers pipeline: its states go to disk as they are computed, its result stays as it is."""

from __future__ import annotations

import difflib
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

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import choose
from denoscope.hooks.module_survey import modules_of
from denoscope.models.loading import network_of
from denoscope.recording import recording
from denoscope.recording.device_transfer import Outbox
from denoscope.recording.pipelines import branches as guidance
from denoscope.recording.pipelines.calls import Call, Calls
from denoscope.recording.pipelines.watched import Watched
from denoscope.recording.pipelines.watched_run import Run
from denoscope.recording.planning import kept_steps, place_of, selection_of
from denoscope.recording.provenance import KEPT
from denoscope.storage.formats import FORMATS, local_store, stored_format
from denoscope.storage.stores.local import LocalStore

OPTIONS = (*KEPT, "output_format", "overwrite")


@contextmanager
def watch(
    pipe: Any,
    *,
    layers: Sequence[str],
    out: str | os.PathLike[str],
    branches: str | Sequence[str] | None = None,
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
        branches: the order of the branches of guidance, as "uncond,cond", for pipelines where it is not
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
        branches: str | Sequence[str] | None,
        options: dict[str, Any],
    ):
        if unknown := sorted(set(options) - set(OPTIONS)):
            near = difflib.get_close_matches(unknown[0], OPTIONS, n=3, cutoff=0.0)
            raise TypeError(f"watch() has no option {unknown[0]!r}; the nearest are {', '.join(near)}")
        self.pipe, self.network, self.out = pipe, network_of(pipe), out
        _check_scheduler(pipe)
        self.options = InferenceConfig.from_arguments(layers=tuple(layers), **options)
        self.selection = selection_of(self.options, SystemConfig.seed)
        self.place = place_of(out, self.options)
        self.existing: Literal["overwrite", "refuse"] = "overwrite" if self.options.overwrite else "refuse"
        self._check_free()
        self.stated = None if branches is None else guidance.check(branches)
        self.calls = Calls(self.network, choose(layers, modules_of(self.network)))
        self.run: Run | None = None
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
        if stored_format(LocalStore(self.place)) and not self.options.overwrite:
            raise UserError(
                f"{self.place} already holds a recording; replace it with overwrite=True, or name another output"
            )

    def _begun(self, timestep: float, x: torch.Tensor, calls: Sequence[Call]) -> Run:
        watched = Watched.seen(self.pipe, self.network, timestep, x, calls, self.stated)
        plan = watched.plan(self.options, self.selection, self.out)
        store = local_store(self.place, plan.format)
        opened = FORMATS[plan.format].writer.opened(store, plan, self.existing)
        writer = self.stack.enter_context(opened)
        unit = self.stack.enter_context(writer.unit(list(plan.groups)))
        outbox = self.stack.enter_context(Outbox(x.device))
        return Run(watched, plan, self.selection, kept_steps(self.options, watched.steps), unit, outbox)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write {self.place}: {error.strerror or error}; the recording is unfinished"
            ) from error


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
