"""Interventions as they are carried out: all those of a run, told when each call of the network is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denoscope.hooks.addresses import Address
from denoscope.hooks.attention import Visitor
from denoscope.interventions import operands
from denoscope.interventions.edits import NUMBERS, Edit, Run
from denoscope.interventions.network_call import Moment
from denoscope.interventions.source_recording import Donor
from denoscope.interventions.spec import Intervention, as_plain
from denoscope.models.conditioning import NOTHING, Condition


class Writes:
    """All interventions of a run: visitors for `taps.tapped`, told before each call when it is.

    >>> writes = Writes.prepared(interventions, run)
    >>> with tapped(denoiser.network, denoiser.call, writes=writes.visits) as network:
    ...     writes.begin(moment)
    ...     network(x, timestep, {})

    `asked` is what was asked for, as in a plan, and `plain` what it comes to: addresses, and the SHA-256 of
    every value.
    """

    def __init__(
        self,
        edits: Sequence[Edit] = (),
        asked: Sequence[Mapping[str, Any]] = (),
        plain: Sequence[Mapping[str, Any]] = (),
    ):
        self.edits, self.asked, self.plain = edits, asked, plain

    @classmethod
    def prepared(
        cls, interventions: Sequence[Intervention], run: Run, condition: Condition = NOTHING
    ) -> Writes:
        """Resolve the queries, read the values and check that all of it fits.

        Raises: UserError if a query names nothing, or a value, a place or a recording does not fit.
        """
        donors = {path: Donor(path) for item in interventions if (path := item.recording) is not None}
        edits, plain = [], []
        for item in interventions:
            layers = run.denoiser.chosen_layers(item.at, condition.inputs)
            donor = None if item.recording is None else donors[item.recording]
            made = [Edit(item, layer, run, donor) for layer in layers]
            edits += made
            plain.append(_resolved(item, made))
        return cls(edits, [as_plain(item) for item in interventions], plain)

    @property
    def visits(self) -> list[tuple[Address, Visitor]]:
        return [(edit.address, edit.visit) for edit in self.edits]

    @property
    def draws(self) -> bool:
        """Whether any of them draws random numbers."""
        return any(edit.item.do == "noise" for edit in self.edits)

    @property
    def moment(self) -> Moment | None:
        """When the present call is."""
        return self.edits[0].moment if self.edits else None

    def begin(self, moment: Moment | None) -> None:
        """Say when the next call of the network is."""
        for edit in self.edits:
            edit.moment, edit.seen = moment, 0

    def check(self, names: Sequence[str]) -> None:
        """Refuse samples of these names where a recording lacks theirs, or where they need names and have none."""
        for edit in self.edits:
            edit.check(names)


def _resolved(item: Intervention, edits: Sequence[Edit]) -> dict[str, Any]:
    """An intervention as JSON, with addresses for queries and with hashes for what it takes."""
    found = as_plain(item) | {"at": [edit.layer.address for edit in edits]}
    if edits and edits[0].donor is not None:
        found["value"] = {"recording": edits[0].donor.identity}
    elif item.do in NUMBERS:
        found["value"] = operands.told(operands.load(item.value))
    return found


NONE = Writes()
