"""A recording under random sequences of user actions, against a model in memory of its expected content."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from small_plans import FORMATS, plan_of, values_of, write_groups

from denoscope.foundation.errors import UserError
from denoscope.storage import formats
from denoscope.storage.stores.local import LocalStore

SCHEDULERS = st.sampled_from(["one", "two"])
GROUPS = range(3)
OPTIONS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


class Stopped(BaseException):
    """Ends a writer as Ctrl-C does; `test_kills.py` kills processes."""


class Work:
    """The expected content of one recording: its scheduler and its finished groups."""

    def __init__(self, scheduler: str):
        self.scheduler, self.groups = scheduler, set()

    @property
    def is_complete(self) -> bool:
        return self.groups == set(GROUPS)


class Outputs(RuleBasedStateMachine):
    """An output that is begun, continued, replaced, stopped and opened."""

    format = "zarr"

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / ("run.zarr" if self.format == "zarr" else "run")
        self.live: Work | None = None
        self.replacement: Work | None = None
        self.notes: dict[str, bytes] = {}

    def teardown(self):
        shutil.rmtree(self.folder)

    def attempt(self, existing: str, scheduler: str, stop: int) -> bool:
        """Write up to a number of groups, then stop unless these are all; returns whether writing was allowed."""
        plan, store = plan_of(self.format, scheduler=scheduler), formats.store_of(self.path, self.format)
        try:
            with formats.FORMATS[self.format].writer.opened(store, plan, existing) as writer:
                pending = [group for group in GROUPS if group not in writer.finished]
                self.finished = set(writer.finished)
                write_groups(writer, plan, pending[:stop])
                self.finished |= set(pending[:stop])
                if stop < len(pending):
                    raise Stopped
        except Stopped:
            pass
        except UserError:
            return False
        return True

    @rule(scheduler=SCHEDULERS, stop=st.integers(0, 3))
    def begin(self, scheduler, stop):
        allowed = self.attempt("refuse", scheduler, stop)
        # No store or folder is begun among the user's own files.
        assert allowed == (self.live is None and not self.notes)
        if allowed:
            self.live, self.replacement = Work(scheduler), None
            self.live.groups = self.finished

    @rule(scheduler=SCHEDULERS, stop=st.integers(0, 3))
    @precondition(lambda self: self.live is not None)
    def resume(self, scheduler, stop):
        continues = self.replacement is not None and self.replacement.scheduler == scheduler
        allowed = self.attempt("resume", scheduler, stop)
        assert allowed == (continues or self.live.scheduler == scheduler)
        if not allowed:
            return
        if continues:
            assert self.finished >= self.replacement.groups
            self.replacement.groups = self.finished
            self.settle()
        else:
            assert self.finished >= self.live.groups
            self.live.groups, self.replacement = self.finished, None

    @rule(scheduler=SCHEDULERS, stop=st.integers(0, 3))
    @precondition(lambda self: self.live is not None)
    def overwrite(self, scheduler, stop):
        continues = self.replacement is not None and self.replacement.scheduler == scheduler
        assert self.attempt("overwrite", scheduler, stop)
        assert not continues or self.finished >= self.replacement.groups
        self.replacement = Work(scheduler)
        self.replacement.groups = self.finished
        self.settle()

    def settle(self):
        if self.replacement.is_complete:
            self.live, self.replacement = self.replacement, None

    @rule(name=st.sampled_from(["notes.txt", "my_analysis/a.npz", "nested.zarr/zarr.json"]))
    @precondition(lambda self: self.live is not None)
    def note(self, name):
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(name.encode())
        self.notes[name] = name.encode()

    @rule()
    @precondition(lambda self: self.live is not None)
    def leave_a_temporary_file(self):
        """The state that a process killed while writing leaves."""
        (self.path / f".{'0' * 32}.partial").write_bytes(b"half")

    @invariant()
    def reads_as_the_model_says(self):
        for name, data in self.notes.items():
            assert (self.path / name).read_bytes() == data
        if self.live is None:
            assert not formats.stored_format(LocalStore(self.path))
            return
        plan, data = plan_of(self.format), formats.open_dataset(LocalStore(self.path))
        assert data.attrs["fingerprint"]["scheduler"] == self.live.scheduler
        finished = [row for group in sorted(self.live.groups) for row in plan.samples_of(group)]
        assert np.flatnonzero(data["complete"].values).tolist() == finished
        for array in plan.arrays[:2]:
            found, right = data[array.name].values, values_of(array)
            assert np.array_equal(found[finished], right[finished], equal_nan=True)

    @invariant()
    def nothing_is_left_behind(self):
        hidden = [path.name for path in self.folder.iterdir() if path != self.path]
        inside = (self.path / ".replacement").exists()
        assert len(hidden) + inside == (self.replacement is not None)


@pytest.mark.parametrize("examples", [3, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", FORMATS)
def test_an_output_is_what_a_model_in_memory_says(format, examples):
    machine = type("Outputs", (Outputs,), {"format": format})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=8, database=None, **OPTIONS)
    )
