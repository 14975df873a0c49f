"""When a call of the network is, and whose rows it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """Call `call` of denoising step `step`, with `lanes` rows for each of the branches.

    The rows of a branch are those of the samples `names`, then repetitions of the last one as padding.
    """

    step: int
    call: int
    timestep: float
    names: tuple[str, ...]
    branches: tuple[str, ...]
    lanes: int

    def rows(self, *, branches: tuple[str, ...] = (), samples: tuple[str, ...] = ()) -> list[int]:
        """The rows of these branches and samples, padding included; all of them where none is named."""
        last = len(self.names) - 1
        return [
            half * self.lanes + lane
            for half, branch in enumerate(self.branches or ("",))
            for lane in range(self.lanes)
            if (not branches or branch in branches)
            and (not samples or self.names[min(lane, last)] in samples)
        ]
