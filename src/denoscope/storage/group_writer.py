"""The writer of a recording's groups, whatever its format is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, Self

from denoscope.storage import completion, replacement, space
from denoscope.storage.completion import Mark, WriteMark
from denoscope.storage.output_lock import Existing
from denoscope.storage.plan import Plan, Unit
from denoscope.storage.replacement import Kind
from denoscope.storage.stores.byte_store import ByteStore


class GroupWriter:
    """Writes a recording into a store, as the format's `kind` says.

    `store` is the output, or what will replace it. `finished` are the groups that were finished before, with their
    marks without checksums.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        store: ByteStore,
        plan: Plan,
        finished: Mapping[int, Mark],
        *,
        write_mark: WriteMark = completion.write,
    ):
        self.store, self.plan, self.finished, self._write_mark = store, plan, finished, write_mark

    @classmethod
    def check(cls, store: ByteStore, plan: Plan, existing: Existing) -> None:
        """Check that a recording may be written and fits; nothing is touched.

        Raises: UserError if it may not, or does not.
        """
        cls.kind.check(store, plan, existing)
        if existing != "resume" and not replacement.continued(cls.kind, store, plan):
            needed = cls.kind.needed_bytes(store, plan, None)
            space.check(store, needed, replacement.freed(cls.kind, store, plan))

    @classmethod
    @contextmanager
    def opened(cls, store: ByteStore, plan: Plan, existing: Existing) -> Iterator[Self]:
        """Yield a writer that has the store to itself; what describes the recording is written by then."""
        check = partial(cls.check, store, plan, existing)
        with replacement.opened(cls.kind, store, plan, existing, check) as (target, finished):
            yield cls(target, plan, finished)

    @classmethod
    def joined(cls, store: ByteStore, plan: Plan) -> Self:
        """Return a writer into a store that another process has opened with this plan.

        Others may write the same groups; see `completion.write_shared`.
        """
        return cls(
            store, plan, {}, write_mark=partial(completion.write_shared, cls.kind.damaged, plan.extent)
        )

    def clean(self) -> None:
        """Remove the temporary files of killed attempts."""
        self.kind.clean(self.store, self.plan)

    @contextmanager
    def unit(self, groups: Sequence[int]) -> Iterator[Unit]:
        """Start groups, which are finished when the block ends without an error."""
        unit = self.kind.unit(self.store, self.plan, groups, self._write_mark)
        try:
            yield unit
            unit.finish()
        finally:
            unit.discard()
