"""One call of the network in a run, and one call of a layer in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkCall:
    """Call `call` of denoising step `step`, with `lanes` rows for each of the branches.

    The rows of a branch are those of the samples `names`, then copies of the last one as padding. Without guidance
    `branches` is empty.
    """

    step: int
    call: int
    timestep: float
    names: tuple[str, ...]
    branches: tuple[str, ...]
    lanes: int

    def row_keys(self) -> list[tuple[str, str]]:
        """(branch, sample) of every row, padding included; the branch is "" without guidance."""
        padded = [*self.names, *[self.names[-1]] * (self.lanes - len(self.names))]
        return [(branch, name) for branch in self.branches or ("",) for name in padded]

    def rows(self, *, branches: tuple[str, ...] = (), samples: tuple[str, ...] = ()) -> list[int]:
        """The rows of these branches and samples, padding included; all of them if none is named."""
        return [
            row
            for row, (branch, name) in enumerate(self.row_keys())
            if (not branches or branch in branches) and (not samples or name in samples)
        ]


@dataclass(frozen=True)
class LayerCall:
    """A call of a layer within a call of the network.

    `index` counts the layer's calls in the denoising step, as the axis `call` of a recording does.
    """

    network: NetworkCall
    index: int
