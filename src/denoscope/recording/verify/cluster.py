"""Whether the workers of a cluster are ready, and compute the same bits."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from distributed import Client

from denoscope import noise
from denoscope.cluster import sight, worker
from denoscope.cluster.crew import SCHEDULER, crew, versions
from denoscope.cluster.worker import Beat
from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.json_values import differences
from denoscope.foundation.spelling import counted
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import SharedModel
from denoscope.models.weights_hash import values_sha256
from denoscope.recording import provenance
from denoscope.sampling.loop import run_loop
from denoscope.sampling.settings import Loop
from denoscope.storage.places import Place, beside

ABOUT_BITS = "bits"


@dataclass(frozen=True)
class WorkerReport:
    """What one worker, or the scheduler, sees.

    `facts` are its host, device, memory and threads, empty where nothing was computed. `problems` are the ways in which
    it differs from this process or from the first worker, and why it cannot write to the store.
    """

    address: str
    versions: Mapping[str, str]
    facts: str = ""
    problems: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        about = f": {self.facts}" if self.facts else ""
        return [f"{self.address}{about}", *(f"  {line}" for line in self.problems)]


@dataclass(frozen=True)
class ClusterReport:
    """The workers of a cluster in the order of their addresses, and the scheduler."""

    reports: Sequence[WorkerReport]
    compared: bool
    """Whether the workers have computed: they do not where versions differ."""
    store: Place | None = None

    @property
    def sound(self) -> bool:
        return self.compared and not any(report.problems for report in self.reports)

    def __str__(self) -> str:
        own = ", ".join(f"{name} {version}" for name, version in worker.versions().items())
        lines = [f"{counted(len(self.reports) - 1, 'worker')}; this process has {own}"]
        lines += [f"  {line}" for report in self.reports for line in report.lines]
        if not self.compared:
            lines.append("versions differ: no bits were compared")
        elif self.sound:
            lines.append(
                "all workers compute the same bits" + (f" and write to {self.store}" if self.store else "")
            )
        else:
            lines.append("workers differ")
        return "\n".join(lines)


def cluster(denoiser: Denoiser, client: Client, loop: Loop, out: Place | None = None) -> ClusterReport:
    """What each worker of a client sees, and whether all compute the same bits: each denoises the same noises.

    Args:
        out: where a recording would be written; each worker writes a file beside it, which is removed.

    Raises: UserError if the model has no name to load it by, if there are no workers, if one cannot run denoscope or load
        the model, or if the output cannot be written from here.
    """
    recipe = CheckRecipe(SharedModel.of(denoiser, torch.get_num_threads()), loop)
    found, own = versions(client), worker.versions()
    wrong = {address: differences(own, seen) for address, seen in found.items()}
    unseen = {} if out is None else sight.problems(client, beside(out))
    for address, problem in unseen.items():
        wrong.setdefault(address, []).append(problem)  # it may have joined since its versions were asked for
    compared = all(own == seen for seen in found.values())
    facts = {}
    if not wrong[SCHEDULER]:
        facts[SCHEDULER] = "the same versions"
    if compared:
        with crew(client, recipe) as workers:
            computed = workers.descriptions()
        first = next(iter(computed.values()))[ABOUT_BITS]
        for address, description in computed.items():
            facts[address] = description["facts"]
            wrong.setdefault(address, []).extend(differences(first, description[ABOUT_BITS]))
    reports = [
        WorkerReport(address, found.get(address, own), facts.get(address, ""), problems)
        for address, problems in wrong.items()
    ]
    return ClusterReport(reports, compared, out)


@dataclass(frozen=True, eq=False)
class CheckRecipe:
    """A short run that every worker denoises, so that their results can be compared."""

    model: SharedModel
    loop: Loop

    def prepare(self) -> Checked:
        with self.model.loaded() as denoiser:
            x_T = noise.random(self.loop.lanes, denoiser.shape, seed=self.loop.noise_seed)
            x_0 = run_loop(denoiser, x_T.batch(range(len(x_T))), self.loop)
            bits = provenance.fingerprint(denoiser, self.loop) | {"x_0_sha256": values_sha256({"x_0": x_0})}
            free = format_bytes(memory.free_bytes(denoiser.device))
            facts = (
                f"{platform.node()}, {bits['device']}, {free} free, {counted(self.model.threads, 'thread')}"
            )
            return Checked({ABOUT_BITS: bits, "facts": facts})


@dataclass(frozen=True, eq=False)
class Checked:
    """The result of the short run on one worker. A check has no units, so that `do` is never called."""

    description: Mapping[str, Any]

    def do(self, content: Any, beat: Beat) -> None:
        raise NotImplementedError
