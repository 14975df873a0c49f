"""A recording of denoscope's own loop: planned completely, then run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from denoscope.cluster.connection import check_uncompiled
from denoscope.config import InferenceConfig, check_guidance
from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION, version_of
from denoscope.foundation.spelling import naming, spelled
from denoscope.hooks.state_reduction import Selection
from denoscope.interventions.plan_file import read_plan
from denoscope.interventions.spec import Intervention, as_interventions
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.loading import call_of
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.recording.in_memory import MemoryWriter, check_memory
from denoscope.recording.inputs import RunInputs
from denoscope.recording.layout import check_estimates_wanted, recorded_steps
from denoscope.recording.opening import open
from denoscope.recording.planning import condition_of, format_of, output_of, plan_of, selection_of
from denoscope.recording.progress import NoProgress, RecordingProgress
from denoscope.recording.recording import Recording
from denoscope.recording.runs.loop_run import LoopRun
from denoscope.sampling.image_start import ImageStart
from denoscope.sampling.settings import Loop
from denoscope.storage.formats import FORMATS, attributes_to_resume, store_of
from denoscope.storage.output_lock import Existing, writing
from denoscope.storage.places import Place
from denoscope.storage.plan import Plan, Writer

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A recording that is planned and can be run.

    `out` is where it is stored: a folder, or a Zarr store at a path or a URL; None for a recording in memory.
    """

    inputs: RunInputs
    options: InferenceConfig
    selection: Selection
    out: Place | None
    plan: Plan
    interventions: tuple[Intervention, ...] = ()

    @classmethod
    def prepared(
        cls,
        denoiser: Denoiser,
        x: NoiseLike,
        out: Place | None,
        options: InferenceConfig,
        noise_seed: int,
        condition: Condition | None = None,
        interventions: Intervention | Sequence[Intervention] = (),
        streams: int | None = None,
        start: ImageStart | None = None,
    ) -> Job:
        """The plan of a recording of noises `x` (see `as_noises`); nothing is written yet.

        Args:
            streams: the version of the random streams; by default that of the recording which is resumed, else the
                newest.
            start: the image with which the loop begins.

        Raises: UserError if an argument is wrong, a layer is unknown, or one does not fit the others.
        """
        check_denoiser(denoiser)
        place = None if out is None else output_of(out, options)
        changes = _interventions(interventions, options)
        inputs = inputs_of(
            denoiser, x, options, noise_seed, condition, changes, streams or _streams(place, options), start
        )
        selection = selection_of(options, noise_seed)
        plan = plan_of(inputs, options, selection, out)
        with _naming_interventions(options):
            inputs.applied.check(plan.samples)
        LOGGER.debug(
            "%d network calls of %d rows a step; %d layers; device %s, %s threads",
            len(plan.groups),
            options.lanes,
            len(inputs.layers),
            denoiser.device,
            plan.attrs["fingerprint"]["threads"],
        )
        return cls(inputs, options, selection, place, plan, tuple(changes))

    def check(self) -> None:
        """Refuse a plan that cannot be carried out on this machine; nothing is written.

        Raises: UserError if the memory or the disk is too small, or the output is taken.
        """
        self._check_memory()
        self.check_output()

    def check_output(self) -> None:
        """Refuse an output that is taken, or whose disk is too small; nothing is written.

        Raises: UserError if the output is taken, or its disk is too small.
        """
        if self.out is not None:
            with writing(self.out, self.plan.attrs):
                store = store_of(self.out, self.plan.format)
                FORMATS[self.plan.format].writer.check(store, self.plan, self.existing)

    def check_for_workers(self) -> None:
        """Refuse a recording that workers cannot make, and an output that is taken.

        Raises: UserError naming the argument.
        """
        if self.out is None:
            raise UserError(
                f"{spelled('cluster')} needs an output ({spelled('out')}): workers write into a store, and no states "
                "travel between processes"
            )
        check_uncompiled(self.options.fast)
        call_of(self.inputs.denoiser)  # raises if there is none
        # An earlier recording is compared with the workers, which may have other devices than this process.
        if self.existing == "refuse":
            self.check_output()

    def run(self, progress: RecordingProgress | None = None) -> Recording:
        """Record the samples that are not finished yet, and open the recording.

        Raises: UserError as `check` does.
        """
        progress = progress or NoProgress()
        self._check_memory()
        if self.out is None:
            writer = MemoryWriter(self.plan)
            self._record(writer, progress)
            return Recording(None, writer.dataset())
        store = store_of(self.out, self.plan.format)
        with FORMATS[self.plan.format].writer.opened(store, self.plan, self.existing) as stored:
            self._record(stored, progress)
        return open(self.out)

    def run_into(self, writer: Writer, *, begin: int | None = None) -> None:
        """Record all samples into another writer than the plan's own; see `steps_of` for `begin`."""
        self._loop_run(writer, NoProgress(), {}, begin).record(list(self.plan.groups))

    def _record(self, writer: Writer, progress: RecordingProgress) -> None:
        """Record the groups that are not finished."""
        with self.reported(writer, progress) as (pending, nonfinite):
            self._loop_run(writer, progress, nonfinite).record(pending)

    @contextmanager
    def reported(
        self, writer: Writer, progress: RecordingProgress
    ) -> Iterator[tuple[Sequence[int], dict[str, int]]]:
        """Enclose the recording of the groups that are not finished in the begin and the end of its progress.

        Yields these groups, and the samples that became NaN or Inf so far, each with the first such step; the block
        adds others to them.
        """
        x, denoiser = self.inputs.x, self.inputs.denoiser
        for warning in [*x.warnings, *self.inputs.loop.rounding_warnings(denoiser, x)]:
            LOGGER.warning(warning)
        finished = writer.finished
        nonfinite = {
            name: max(0, states[0] - 1)
            for mark in finished.values()
            for name, states in mark.nonfinite.items()
        }
        progress.begin(self.plan, self.out, sum(len(mark.samples) for mark in finished.values()))
        try:
            groups = self.plan.groups
            yield [group for group in groups if group not in finished] if finished else groups, nonfinite
        finally:
            progress.end(nonfinite)

    def _loop_run(
        self,
        writer: Writer,
        progress: RecordingProgress,
        nonfinite: dict[str, int],
        begin: int | None = None,
    ) -> LoopRun:
        return LoopRun(
            inputs=self.inputs,
            options=self.options,
            selection=self.selection,
            plan=self.plan,
            out=self.out,
            writer=writer,
            progress=progress,
            nonfinite=nonfinite,
            begin=begin,
        )

    def _check_memory(self) -> None:
        """Refuse samples in flight, and a recording in memory, for which the memory is too small."""
        needed, free = self.plan.held_bytes, memory.free_bytes(self.inputs.denoiser.device)
        if needed > free:
            raise UserError(
                f"the samples in flight take at least {format_bytes(needed)} of memory and {format_bytes(free)} are free; "
                f"reduce {spelled('batch_size')} or {spelled('lanes')}, or name fewer {spelled('layers')}"
            )
        if self.out is None:
            on_host = self.inputs.denoiser.device.type == "cpu"
            check_memory(self.plan.total_bytes, needed if on_host else 0)

    @property
    def existing(self) -> Existing:
        return "resume" if self.options.resume else "overwrite" if self.options.overwrite else "refuse"


def check_options(options: InferenceConfig, out: Place | None) -> None:
    """Refuse options that are wrong whatever the model is, before it is loaded.

    Raises: UserError naming the option.
    """
    if out is not None:
        output_of(out, options)
        format_of(out, options)
    selection_of(options, 0)
    recorded_steps(options, options.num_steps)
    check_estimates_wanted(options)
    check_guidance(options)
    _interventions((), options)


def inputs_of(
    denoiser: Denoiser,
    x: NoiseLike,
    options: InferenceConfig,
    noise_seed: int,
    condition: Condition | None,
    interventions: Sequence[Intervention],
    streams: int,
    start: ImageStart | None = None,
) -> RunInputs:
    """The inputs of a run, checked against each other.

    Raises: UserError as `Job.prepared` does.
    """
    x = as_noises(x, shape=denoiser.shape)
    condition = condition_of(denoiser, options, condition)
    denoiser.check_condition(condition, len(x))
    if condition.inputs:
        denoiser.try_condition(condition)
    loop = Loop.of(options, noise_seed, streams=streams, start=start)
    with naming("layers"):
        layers = denoiser.chosen_layers(options.layers, condition.inputs) if options.extract_states else []
    with _naming_interventions(options):
        applied = loop.applied(denoiser, interventions, condition)
    return RunInputs(denoiser=denoiser, x=x, loop=loop, condition=condition, applied=applied, layers=layers)


def _streams(place: Place | None, options: InferenceConfig) -> int:
    """The version of the random streams of the recording that is resumed, else the newest."""
    stored = attributes_to_resume(place) if place is not None and options.resume else {}
    return version_of(stored.get("fingerprint", {})) if stored else STREAMS_VERSION


def _plan(path: Path) -> Sequence[Intervention]:
    """The interventions of a plan file. Errors name the argument."""
    with naming("intervene"):
        return read_plan(path)


def _naming_interventions(options: InferenceConfig) -> AbstractContextManager[None]:
    """Begin messages in the block with the argument that gave the interventions."""
    return naming("intervene" if options.intervene else "interventions")


def _interventions(
    interventions: Intervention | Sequence[Intervention], options: InferenceConfig
) -> Sequence[Intervention]:
    """The interventions that are given, or those of the plan that the options name."""
    passed = as_interventions(interventions)
    if passed and options.intervene:
        raise UserError(
            f"{spelled('interventions')} and {spelled('intervene')} are both given; give one of them"
        )
    chosen = _plan(options.intervene) if options.intervene else passed
    if chosen and options.fast:
        raise UserError(
            f"{spelled('fast', True)} compiles the network, and a compiled network takes no interventions; "
            "leave one of them out"
        )
    return chosen
