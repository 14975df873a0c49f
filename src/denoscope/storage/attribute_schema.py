"""The attributes of a recording that this package reads, as they must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

MOST_SAMPLES = 10**7
"""The most samples of a recording; a file that claims more is damaged, or would take all memory."""
MOST_STATES = 10**6
Samples = Annotated[int, Meta(ge=0, le=MOST_SAMPLES)]
Lanes = Annotated[int, Meta(ge=1, le=MOST_SAMPLES)]
States = Annotated[int, Meta(ge=0, le=MOST_STATES)]


@dataclass(frozen=True)
class Config:
    """The options of a recording."""

    layers: list[str]
    noise_seed: int
    every: list[int]
    num_steps: Annotated[int, Meta(ge=1, le=MOST_STATES)]
    extract_states: bool = True


@dataclass(frozen=True)
class Fingerprint:
    """What decides the bits of a recording. `weights_sha256` is missing if a pipeline's weights could not be read."""

    layers: list[str]
    lanes: Lanes
    network: str
    scheduler: str
    scheduler_config: dict[str, Any]
    shape: list[Annotated[int, Meta(ge=1, le=2**31)]]
    dtype: str
    threads: Annotated[int, Meta(ge=1, le=2**20)]
    weights_sha256: str | None


@dataclass(frozen=True)
class NoiseFloor:
    """What `verify precision` measured."""

    per_state_l2: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Attributes:
    """The attributes of a recording. Those that are read and that old recordings lack have a default."""

    format: str
    format_version: int
    model: str
    scheduler: str
    config: Config
    fingerprint: Fingerprint
    layer_folders: dict[str, str]
    created: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    inputs_sha256: str = ""
    condition: list[Any] = field(default_factory=list)
    interventions: list[dict[str, Any]] = field(default_factory=list)
    pipeline: str = ""
    noise_floor: NoiseFloor | None = None


@dataclass(frozen=True)
class Extent:
    """The planned size of a recording: `samples` in groups of `lanes`, each sample with `states` states."""

    samples: int
    lanes: int
    states: int

    @property
    def groups(self) -> range:
        return range(-(-self.samples // self.lanes))

    def samples_of(self, group: int) -> range:
        """Return the indices of the samples in a group."""
        return range(group * self.lanes, min((group + 1) * self.lanes, self.samples))
