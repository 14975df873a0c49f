"""Interventions applied to a run: for each network call, the visitors that write into its states."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.hooks.attention import Visitor
from denoscope.hooks.tapped_network import Writes
from denoscope.hooks.visitors import Visits
from denoscope.interventions.network_call import LayerCall, NetworkCall
from denoscope.interventions.operations import GIVE_NAMES, AddNoise, Operation
from denoscope.interventions.plan_file import to_json
from denoscope.interventions.site import Run, Site
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import NOTHING, Condition


@dataclass(frozen=True, eq=False)
class Application:
    """An operation at a site."""

    site: Site
    operation: Operation

    def check(self, names: Sequence[str]) -> None:
        """Refuse samples of these names if their names are missing, or a recording lacks what they get."""
        if self.site.scope.samples and "" in names:
            raise UserError(f"{self.site.name}: it {GIVE_NAMES}")
        self.operation.check_samples(names)

    def visitor(self, call: NetworkCall) -> Visitor:
        """What writes into the layer's states during one call of the network."""
        first = call.call * self.site.layer.calls
        indices = itertools.count(first)
        return lambda state: self._written(state, LayerCall(call, next(indices)))

    def _written(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor | None:
        """The state [rows, …] as it is afterwards, or None if nothing is written in this call."""
        site, network = self.site, call.network
        rows = site.rows(network) if site.is_written(call) else []
        if not rows:
            return None
        planned = (len(network.row_keys()), *(site.layer.shape or ()))
        if tuple(state.shape) != planned:
            raise UserError(
                f"{site.name}: the state has shape {list(state.shape)}, where the dry run had {list(planned)}"
            )
        changed, where = self.operation.apply(state, call), site.region.mask
        if len(rows) < len(state):
            chosen = torch.zeros(len(state), *[1] * (state.ndim - 1), dtype=torch.bool)
            chosen[rows] = True
            where = chosen if where is None else chosen & where
        return changed if where is None else torch.where(where.to(state.device), changed, state)


@dataclass(frozen=True, eq=False)
class Applied:
    """All interventions of a run.

    >>> applied = Applied.prepared(interventions, run)
    >>> network = TappedNetwork(denoiser.network, denoiser.call)
    >>> output, states = network(x, timestep, {}, applied.during(call))

    `requested` are the interventions as in a plan file; `resolved` has addresses in place of queries, and the SHA-256
    of every value.
    """

    applications: Sequence[Application] = ()
    requested: Sequence[Mapping[str, Any]] = ()
    resolved: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def prepared(
        cls, interventions: Sequence[Intervention], run: Run, condition: Condition = NOTHING
    ) -> Applied:
        """The interventions with their queries resolved and their values read.

        Raises: UserError if a query matches nothing, or a value, a place or a recording does not fit.
        """
        parts = [(item, _applications(item, run, condition)) for item in interventions]
        return cls(
            [application for _, applications in parts for application in applications],
            [to_json(item) for item in interventions],
            [_resolved(item, applications) for item, applications in parts],
        )

    @property
    def draws(self) -> bool:
        """Whether any of them draws random numbers."""
        return any(isinstance(application.operation, AddNoise) for application in self.applications)

    def during(self, call: NetworkCall) -> Writes:
        """What is written during one call of the network.

        The result may be used again for the same call, as in the backward pass of a checkpointed network. Nothing
        remembers which call is under way, so that runs cannot get into each other's way.
        """
        return partial(self._visits, call)

    def followed_by(self, application: Application) -> Applied:
        """These interventions, and one more after them."""
        return Applied([*self.applications, application], self.requested, self.resolved)

    def check(self, names: Sequence[str]) -> None:
        """Refuse samples of these names if an intervention needs names that are missing, or a recording lacks one."""
        for application in self.applications:
            application.check(names)

    def _visits(self, call: NetworkCall) -> Visits:
        return [
            (application.site.layer.place, application.visitor(call)) for application in self.applications
        ]


NO_INTERVENTIONS = Applied()


def _applications(item: Intervention, run: Run, condition: Condition) -> list[Application]:
    """An intervention at each layer that its queries match."""
    sites = [
        Site(f"{item.label} at {layer.address}", layer, run, item.scope)
        for layer in run.denoiser.chosen_layers(item.at, condition.inputs)
    ]
    value = item.do if callable(item.do) else item.value
    for site in sites:
        item.kind.check_states(site, value)
    return [Application(site, item.kind.at(site, value, item.source)) for site in sites]


def _resolved(item: Intervention, applications: Sequence[Application]) -> dict[str, Any]:
    """An intervention as JSON, with addresses in place of queries and its value by content."""
    resolved = to_json(item) | {"at": [application.site.layer.address for application in applications]}
    identity = applications[0].operation.identity() if applications else None
    return resolved if identity is None else resolved | {"value": identity}
