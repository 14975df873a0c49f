"""A recording by the workers of a cluster: each loads the model once, and writes whole groups straight into the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client

from denoscope.cluster.crew import Crew, agreed, check_workers, crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.lost_scheduler import lost_reported
from denoscope.cluster.sight import check_place
from denoscope.cluster.unit import Done, Unit
from denoscope.cluster.worker import Beat
from denoscope.config import InferenceConfig
from denoscope.foundation import interrupt, memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UnfinishedError, UserError
from denoscope.foundation.spelling import counted, spelled
from denoscope.foundation.threads import threads_set_to
from denoscope.interventions.operands import located
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.models.loading import SharedModel
from denoscope.models.weights_hash import values_sha256
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.inputs import RunInputs
from denoscope.recording.job import Job, inputs_of
from denoscope.recording.layout import Coords
from denoscope.recording.opening import open
from denoscope.recording.planning import selection_of
from denoscope.recording.progress import NoProgress, RecordingProgress
from denoscope.recording.provenance import fingerprint_of
from denoscope.recording.recording import Recording
from denoscope.recording.runs.loop_run import LoopRun, NonfiniteError
from denoscope.storage.formats import FORMATS, store_of
from denoscope.storage.group_writer import GroupWriter
from denoscope.storage.places import beside
from denoscope.storage.plan import Plan
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import flush
from denoscope.storage.watching.work_notes import NotesFile

FIRST_NOISE = "first_noise_sha256"


@dataclass(frozen=True, eq=False)
class ClusterRun:
    """A planned recording, and the workers that fill it."""

    job: Job
    client: Client
    progress: RecordingProgress
    allow_different_devices: bool = False

    def record(self) -> Recording:
        """Record the samples that are not finished yet, and open the recording.

        Raises:
            UserError: before any work, if a worker is missing something or would compute in another way.
            UnfinishedError: at the end, if some groups were set aside; at once, if the scheduler is gone.
        """
        with lost_reported(self.client, self._kept):
            return self._recorded()

    def _recorded(self) -> Recording:
        out = self.job.out
        assert out is not None
        check_workers(self.client)
        check_place(self.client, beside(out))
        with crew(self.client, self._recipe()) as workers:
            descriptions, job = self._compared(workers)
            store = store_of(out, job.plan.format)
            with (
                FORMATS[job.plan.format].writer.opened(store, job.plan, job.existing) as writer,
                job.reported(writer, self.progress) as (pending, nonfinite),
            ):
                groups = PendingGroups(out.name, job.plan, writer, pending)
                self._hand_out(groups, workers, descriptions, nonfinite)
        return open(out)

    @property
    def _kept(self) -> str:
        return f"finished samples are stored: continue with {spelled('resume', True)}"

    def _recipe(self) -> RecordingRecipe:
        job, inputs = self.job, self.job.inputs
        return RecordingRecipe(
            model=SharedModel.of(inputs.denoiser, job.plan.attrs["fingerprint"]["threads"]),
            x=inputs.x.located(),
            options=job.options,
            noise_seed=inputs.loop.noise_seed,
            condition=inputs.condition,
            interventions=tuple(replace(each, value=located(each.value)) for each in job.interventions),
            streams=inputs.loop.streams,
            plan=replace(job.plan, coords=_without_samples(job.plan)),
        )

    def _compared(self, workers: Crew) -> tuple[list[dict[str, Any]], Job]:
        """The descriptions of the workers after they were compared, and the job with the fingerprint of one of them."""
        own = _description(self.job.inputs, self.job.plan.attrs["fingerprint"])
        allowed = self.allow_different_devices
        distinct, differing = agreed(workers, own, allow_different_devices=allowed)
        fingerprint = {name: value for name, value in distinct[0].items() if name != FIRST_NOISE}
        attrs = {**self.job.plan.attrs, "fingerprint": fingerprint}
        if differing:
            attrs["different_devices"] = differing
        return distinct, replace(self.job, plan=replace(self.job.plan, attrs=attrs))

    def _hand_out(
        self,
        pending: PendingGroups,
        workers: Crew,
        descriptions: Sequence[dict[str, Any]],
        nonfinite: dict[str, int],
    ) -> None:
        """Have all groups recorded; an interrupt waits until those in flight are finished."""
        skipped: set[tuple[str, int]] = set()
        failed: dict[str, str] = {}
        left, writer = len(pending.groups), pending.writer
        with interrupt.deferred() as stop, NotesFile(writer.store, writer.kind.layout.MARKS) as notes:
            handing = HandOut(
                workers,
                pending.units(),
                descriptions,
                kept=self._kept,
                progress=self.progress.advance,
                watch=lambda now: notes.update(now.workers, sum(map(pending.samples, now.running))),
                stopping=lambda: stop.requested,
            )
            for outcome in handing.outcomes():
                left -= len(outcome.unit.content[1])
                # The lock of a bucket is a claim: whoever has lost it must stop.
                flush(writer.store)
                if isinstance(outcome, Done):
                    nonfinite |= outcome.result["nonfinite"]
                    for address, step in set(outcome.result["skipped"]) - skipped:
                        self.progress.skipped(address, step)
                        skipped.add((address, step))
                    self.progress.unit_done(pending.samples(outcome.unit), outcome.result["seconds"])
                elif isinstance(outcome.cause, NonfiniteError):
                    raise outcome.cause
                else:
                    failed[outcome.unit.name] = outcome.error
                    notes.set_aside(outcome.unit.name, outcome.error, pending.samples(outcome.unit))
        writer.clean()
        self._check_finished(left, failed)

    def _check_finished(self, left: int, failed: Mapping[str, str]) -> None:
        """Say what is unfinished: groups that were not handed out, and units that failed, each with its error.

        Raises: UnfinishedError if units failed; KeyboardInterrupt if groups are left.
        """
        groups = counted(left, "group")
        if failed:
            units = f"{counted(len(failed), 'unit')} {'was' if len(failed) == 1 else 'were'}"
            stopped = f" before the run stopped with {groups} of samples unfinished" if left else ""
            raise UnfinishedError(
                f"{units} set aside{stopped}, and all others are stored in {self.job.out}; solve this and continue with "
                f"{spelled('resume', True)}",
                failed,
            )
        if left:
            raise KeyboardInterrupt(
                f"stopped with {groups} of samples unfinished in {self.job.out}; continue with "
                f"{spelled('resume', True)}"
            )


def _without_samples(plan: Plan) -> Coords:
    """The coordinates of a plan but those of its samples, which workers do not need and which may be large."""
    return {name: (dim, values) for name, (dim, values) in plan.coords.items() if dim != "sample"}


def _description(inputs: RunInputs, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same on all workers: the fingerprint, and the noises, of which one stands for all."""
    return {**fingerprint, FIRST_NOISE: values_sha256({"noise": inputs.x.tensor(0)})}


@dataclass(frozen=True, eq=False)
class PendingGroups:
    """The unfinished groups of a recording, as units: as many groups as one worker computes at once."""

    recording: str
    """The name of the recording."""
    plan: Plan
    writer: GroupWriter
    groups: Sequence[int]

    def units(self) -> Iterator[Unit]:
        plan = self.plan
        at_once = plan.groups_at_once
        for start in range(0, len(self.groups), at_once):
            groups = tuple(self.groups[start : start + at_once])
            rows = [row for group in groups for row in plan.samples_of(group)]
            name = f"{self.recording} {plan.samples[rows[0]]} to {plan.samples[rows[-1]]}"
            yield Unit(name, (self.writer.store, groups), len(rows) * plan.steps)

    def samples(self, unit: Unit) -> int:
        """The number of samples in a unit."""
        return unit.pieces // self.plan.steps


@dataclass(frozen=True, eq=False)
class RecordingRecipe:
    """What a worker prepares a recording from: how the model is loaded, the noises and options, and the plan."""

    model: SharedModel
    x: NoiseSet
    options: InferenceConfig
    noise_seed: int
    condition: Condition
    interventions: tuple[Intervention, ...]
    streams: int
    plan: Plan

    def prepare(self) -> PreparedRecording:
        """The loaded model with everything that it records.

        Raises: UserError if this worker cannot record it.
        """
        with self.model.loaded() as denoiser:
            options = replace(self.options, intervene=None, resume=False, overwrite=False)
            inputs = inputs_of(
                denoiser, self.x, options, self.noise_seed, self.condition, self.interventions, self.streams
            )
            needed, free = self.plan.held_bytes, memory.free_bytes(denoiser.device)
            if needed > free:
                raise UserError(
                    f"the samples in flight take at least {format_bytes(needed)} of memory and {format_bytes(free)} are "
                    f"free; reduce {spelled('batch_size')} or the number of workers on a machine"
                )
            return PreparedRecording(
                self, options, inputs, _description(inputs, fingerprint_of(inputs, options))
            )


@dataclass(frozen=True, eq=False)
class PreparedRecording:
    """A recording that this worker can take part in."""

    recipe: RecordingRecipe
    options: InferenceConfig
    inputs: RunInputs
    description: Mapping[str, Any]

    def do(self, content: tuple[ByteStore, Sequence[int]], beat: Beat) -> dict[str, Any]:
        """Record groups into a store."""
        store, groups = content
        plan, progress = self.recipe.plan, _UnitProgress(beat)
        nonfinite: dict[str, int] = {}
        run = LoopRun(
            inputs=self.inputs,
            options=self.options,
            selection=selection_of(self.options, self.recipe.noise_seed),
            plan=plan,
            out=None,
            writer=FORMATS[plan.format].writer.joined(store, plan),
            progress=progress,
            nonfinite=nonfinite,
        )
        with threads_set_to(self.recipe.model.threads):
            run.record(groups)
        return {"nonfinite": nonfinite, "skipped": progress.layers, "seconds": progress.seconds}


class _UnitProgress(NoProgress):
    """Reports the steps of a unit, and collects what its recording says."""

    def __init__(self, beat: Beat):
        self._beat, self._finished = beat, 0
        self.layers: list[tuple[str, int]] = []
        self.seconds = 0.0

    def skipped(self, layer: str, step: int) -> None:
        self.layers.append((layer, step))

    def advance(self, samples: int) -> None:
        self._finished += samples
        self._beat(self._finished)

    def unit_done(self, samples: int, seconds: float) -> None:  # noqa: ARG002
        self.seconds += seconds
