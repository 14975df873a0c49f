"""The Jacobians of steps, whose rows the workers of a cluster compute."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from distributed import Client

from denoscope.cluster.shared_work import SharedWork, shared_run
from denoscope.cluster.worker import Beat
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.origin import identity_of, origin_of
from denoscope.dynamics.sensitivity.step_jacobian import AT_ONCE, StepJacobians, step_rows
from denoscope.foundation.threads import threads_set_to
from denoscope.models.conditioning import Condition
from denoscope.models.loading import SharedModel
from denoscope.sampling.settings import Loop


@contextmanager
def jacobians_by(
    client: Client,
    flow: DenoisingMap,
    x_T: torch.Tensor,
    origin: Mapping[str, Any],
    *,
    allow_different_devices: bool,
    kept: str,
) -> Iterator[tuple[StepJacobians, dict[str, Any]]]:
    """The Jacobians by the workers of a client; see `shared_jacobians`."""
    model = SharedModel.of(flow.denoiser, torch.get_num_threads())
    recipe = JacobiansRecipe(model, flow.loop, flow.condition, flow.name, x_T.cpu())
    with shared_run(
        client, recipe, identity_of(origin), allow_different_devices=allow_different_devices, kept=kept
    ) as run:
        jacobians = ClusterJacobians(run.work, x_T.numel(), flow.steps, x_T.dtype)
        yield jacobians, {**origin, "fingerprint": origin["fingerprint"] | run.elsewhere}


@dataclass(frozen=True, eq=False)
class ClusterJacobians:
    """The Jacobians of steps by workers, in units of rows."""

    work: SharedWork
    size: int
    steps: int
    dtype: torch.dtype

    def __call__(self, begin: int) -> Iterator[torch.Tensor]:
        firsts = range(0, self.size, AT_ONCE)
        contents = (
            (f"step {step}, rows {first} to {min(first + AT_ONCE, self.size) - 1}", (step, first))
            for step in range(begin, self.steps)
            for first in firsts
        )
        finished: dict[int, torch.Tensor] = {}
        next_one = 0
        for position, content in self.work.as_finished(contents, 1):
            finished[position] = torch.frombuffer(bytearray(content), dtype=self.dtype)
            while all(next_one + part in finished for part in range(len(firsts))):
                rows = [finished.pop(next_one + part) for part in range(len(firsts))]
                next_one += len(firsts)
                yield torch.cat(rows).reshape(self.size, self.size).double()


@dataclass(frozen=True, eq=False)
class JacobiansRecipe:
    """What a worker prepares the Jacobians of a trajectory from."""

    model: SharedModel
    loop: Loop
    condition: Condition
    name: str
    x_T: torch.Tensor

    def prepare(self) -> PreparedJacobians:
        """The loaded model with the trajectory.

        Raises: UserError if this worker cannot load it.
        """
        with self.model.loaded() as denoiser:
            flow = DenoisingMap(denoiser, self.loop, self.condition, self.name)
            description = identity_of(origin_of(flow))
            return PreparedJacobians(flow, self.x_T.to(denoiser.device), self.model.threads, description)


@dataclass(frozen=True, eq=False)
class PreparedJacobians:
    """A trajectory, rows of whose Jacobians this worker can compute."""

    flow: DenoisingMap
    x_T: torch.Tensor
    threads: int
    description: Mapping[str, Any]

    @functools.cached_property
    def states(self) -> list[torch.Tensor]:
        """The states from which the steps start, and x_0."""
        return self.flow.states(self.x_T)

    def do(self, content: tuple[int, int], beat: Beat) -> bytes:  # noqa: ARG002
        """The bytes of rows of a step's Jacobian: those from a first one on."""
        step, first = content
        with threads_set_to(self.threads):
            rows = step_rows(self.flow, step, self.states[step], first)
        return rows.contiguous().view(torch.uint8).numpy().tobytes()
