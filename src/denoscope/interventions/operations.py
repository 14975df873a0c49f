"""The operations of interventions on a layer's states, one class for each kind."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch

from denoscope.foundation import random_streams
from denoscope.foundation.dtypes import COMPLEX, COMPUTED, INTEGERS, name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe
from denoscope.interventions import operands
from denoscope.interventions.network_call import LayerCall, NetworkCall
from denoscope.interventions.rows import drawn_like, each_row, laid_out_as
from denoscope.interventions.site import Site
from denoscope.interventions.source_recording import SourceRecording

Function = Callable[[torch.Tensor, NetworkCall], torch.Tensor]
Source = str | Mapping[str, str] | None
GIVE_NAMES = (
    "depends on the samples' names, which an array lacks; give ds.denoise, ds.sample or ds.gradient names=[…], or "
    "noises with names (x.subset(…) instead of x.batch(…)); ds.record names them itself"
)
"""The rest of a message that begins with what depends on them."""


class Operation(ABC):
    """An operation on the states of a layer."""

    @abstractmethod
    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        """The whole state [rows, …] after the operation; the caller restores the part that is outside of its region."""

    def identity(self) -> Any:
        """JSON that identifies the value by its content; None if the value as given suffices."""
        return None

    def check_samples(self, names: Sequence[str]) -> None:  # noqa: B027
        """Refuse samples of these names if the operation cannot be applied to them."""


@dataclass(frozen=True, eq=False)
class Kind(Operation):
    """An operation at a site, made of the value that a user gave."""

    site: Site
    allowed: ClassVar[str]
    """The values that the kind takes, for messages."""
    computes_in: ClassVar[tuple[torch.dtype, ...]] = ()
    """The dtypes of the states with which the kind computes; empty if it only puts others in their place."""

    @staticmethod
    @abstractmethod
    def takes(value: Any) -> bool:
        """Whether the kind takes a value."""

    @classmethod
    def check(cls, value: Any, where: str) -> None:
        """Refuse a value that the kind does not take; files are read when the network is known.

        Raises: UserError beginning with `where`, the intervention.
        """
        if not cls.takes(value):
            raise UserError(f"{where}: the value is {describe(value)}; allowed: {cls.allowed}")

    @classmethod
    def check_states(cls, site: Site, value: Any) -> None:  # noqa: ARG003
        """Refuse a site whose states are in a dtype in which the kind does not compute.

        Raises: UserError with the dtype and those that are allowed.
        """
        dtype = site.layer.dtype
        if cls.computes_in and dtype is not None and dtype not in cls.computes_in:
            raise UserError(
                f"{site.name}: the states are {name_of(dtype)}; allowed: {', '.join(map(name_of, cls.computes_in))}; set, swap, "
                "ablate to zero and functions write states of any dtype"
            )

    @classmethod
    @abstractmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:
        """The operation at a site.

        Raises: UserError if the value does not fit there.
        """


@dataclass(frozen=True, eq=False)
class Numeric(Kind):
    """A kind that takes numbers; `numbers` [1, …] fit whole states, and are zero where nothing is written."""

    numbers: torch.Tensor
    value: torch.Tensor
    masks: ClassVar[bool] = False
    """Whether booleans make sense as numbers."""
    allowed: ClassVar[str] = (
        "a number, a list, an array or a tensor, or the path of a .pt, .npy or .safetensors file"
    )

    @staticmethod
    def takes(value: Any) -> bool:
        is_numeric = isinstance(value, int | float | list | torch.Tensor) and not isinstance(value, bool)
        return is_numeric or operands.is_path(value)

    @classmethod
    def check(cls, value: Any, where: str) -> None:
        super().check(value, where)
        if not operands.is_path(value):
            operands.load(value, where, masks=cls.masks)

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:  # noqa: ARG003
        loaded = operands.load(value, site.name, masks=cls.masks)
        operands.check_dtype(loaded, site.layer.dtype, site.name)
        return cls(site, site.region.spread(loaded), loaded)

    def identity(self) -> Any:
        return operands.identity(self.value)

    def like(self, state: torch.Tensor) -> torch.Tensor:
        """The numbers in a state's precision, on its device."""
        return self.numbers.to(state.device, state.dtype)


class Set(Numeric):
    """The numbers take the state's place."""

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:  # noqa: ARG002
        return laid_out_as(state, self.like(state))


class Add(Numeric):
    """The state plus the numbers, such as a steering vector."""

    computes_in = (*COMPUTED, *COMPLEX, *INTEGERS)

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:  # noqa: ARG002
        return state + self.like(state)


class Scale(Numeric):
    """The state times the numbers."""

    computes_in = (*COMPUTED, *COMPLEX, *INTEGERS)
    masks = True

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:  # noqa: ARG002
        return state * self.like(state)


class ProjectOut(Numeric):
    """The state's component orthogonal to a direction along the channels: s − (s·u) u with u = v / ‖v‖."""

    computes_in = (*COMPUTED, *COMPLEX)

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:
        operation = super().at(site, value, source)
        numbers = operation.numbers
        if numbers.numel() != numbers.shape[1 + site.region.channel] or not numbers.any():
            raise UserError(
                f"{site.name}: the value has shape {list(numbers.shape[1:])}; allowed: a direction, one number for each "
                "channel, not all zero"
            )
        return operation

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:  # noqa: ARG002
        direction, channel = self.like(state)[0], self.site.region.channel
        wide = torch.promote_types(state.dtype, torch.float32)
        double = torch.promote_types(direction.dtype, torch.float64)
        unit = direction.to(wide) / torch.linalg.vector_norm(direction.to(double)).to(wide)
        return each_row(state, lambda row: row - (row * unit).sum(channel, keepdim=True) * unit)


@dataclass(frozen=True, eq=False)
class AddNoise(Kind):
    """The state plus independent normal numbers of a standard deviation.

    They are drawn once for all samples or once for each sample's name, as the loop's `noise` says, from a stream of
    their own for each step, call and address.
    """

    sigma: float
    computes_in = (*COMPUTED, *COMPLEX)
    allowed: ClassVar[str] = "a standard deviation, a finite number above 0"

    @staticmethod
    def takes(value: Any) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and 0 < value <= sys.float_info.max

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:  # noqa: ARG003
        return cls(site, float(value))

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        run, step = self.site.run, call.network.step
        purpose = f"noise at {self.site.layer.address}, call {call.index}"
        common = run.noise == "common"
        names = ["" if common else name for _, name in call.network.row_keys()]
        streams = {
            name: random_streams.stream(purpose, run.noise_seed, step, name=name, version=run.streams)
            for name in dict.fromkeys(names)
        }
        return state + drawn_like(state, names, streams) * self.sigma


@dataclass(frozen=True, eq=False)
class Ablate(Kind):
    """Zero, the state's own mean over its positions for each channel, or the mean over a recording's samples."""

    by: Literal["zero", "mean"] | SourceRecording
    computes_in = (*COMPUTED, *COMPLEX)
    allowed: ClassVar[str] = "zero, mean, or the path of a stored recording (NAME.zarr or a folder)"

    @staticmethod
    def takes(value: Any) -> bool:
        return value is None or isinstance(value, str)

    @classmethod
    def check_states(cls, site: Site, value: Any) -> None:
        if value not in (None, "zero"):
            super().check_states(site, value)

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:  # noqa: ARG003
        if operands.is_path(value):
            return cls(site, _recording_at(site, value))
        return cls(site, "mean" if value == "mean" else "zero")

    def identity(self) -> Any:
        return {"recording": self.by.identity} if isinstance(self.by, SourceRecording) else None

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        if isinstance(self.by, SourceRecording):
            address, rows = self.site.layer.address, call.network.row_keys()
            return laid_out_as(state, self.by.means(address, call.network.step, call.index, rows))
        if self.by == "zero":
            return torch.zeros_like(state)
        positions = self.site.region.positions
        return each_row(state, lambda row: row.mean(positions, keepdim=True) if positions else row)


@dataclass(frozen=True, eq=False)
class Swap(Kind):
    """The states that a recording has at the same step, call, branch and sample, or of the samples in `source`."""

    recording: SourceRecording
    source: Source
    allowed: ClassVar[str] = "the path of a stored recording (NAME.zarr or a folder)"

    @staticmethod
    def takes(value: Any) -> bool:
        return operands.is_path(value)

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:
        recording = _recording_at(site, value)
        if isinstance(source, str):
            recording.check_samples([source])
        return cls(site, recording, source)

    def identity(self) -> Any:
        return {"recording": self.recording.identity}

    def check_samples(self, names: Sequence[str]) -> None:
        if not isinstance(self.source, str) and "" in names:
            raise UserError(f"{self.site.name}: it {GIVE_NAMES}")
        written = self.site.scope.samples
        self.recording.check_samples([self._source(name) for name in names if not written or name in written])

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        network = call.network
        rows, address = network.row_keys(), self.site.layer.address
        written = {rows[row][1] for row in self.site.rows(network)}
        # A sample that is not written may have no source.
        placeholder = self._source(min(written))
        sources = {name: self._source(name) if name in written else placeholder for _, name in rows}
        return laid_out_as(state, self.recording.states(address, network.step, call.index, rows, sources))

    def _source(self, name: str) -> str:
        """The sample of the recording whose states a sample gets."""
        return self.source if isinstance(self.source, str) else (self.source or {}).get(name, name)


@dataclass(frozen=True, eq=False)
class Call(Kind):
    """The result of a user's function."""

    function: Function
    allowed: ClassVar[str] = "nothing"

    @staticmethod
    def takes(value: Any) -> bool:
        return value is None

    @classmethod
    def at(cls, site: Site, value: Any, source: Source) -> Self:  # noqa: ARG003
        return cls(site, value)

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        changed = self.function(state.clone(), call.network)
        if not isinstance(changed, torch.Tensor) or changed.shape != state.shape:
            result = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
            raise UserError(
                f"{qualified_name(self.function)} at {self.site.layer.address} returned {result} for a state of shape "
                f"{list(state.shape)}; allowed: a tensor of that shape"
            )
        if not torch.can_cast(changed.dtype, state.dtype):
            raise UserError(
                f"{qualified_name(self.function)} at {self.site.layer.address} returned {name_of(changed.dtype)} for a state in "
                f"{name_of(state.dtype)}, which cannot hold it; allowed: a tensor in that precision"
            )
        return changed.to(state.device, state.dtype)


KINDS: Mapping[str, type[Kind]] = {
    "set": Set,
    "add": Add,
    "scale": Scale,
    "ablate": Ablate,
    "swap": Swap,
    "project_out": ProjectOut,
    "noise": AddNoise,
}
"""The kinds by their names in a plan."""


def qualified_name(function: Function) -> str:
    """The module in which a function is defined, and its name there."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{function.__module__}.{named.__qualname__}"


def _recording_at(site: Site, path: str) -> SourceRecording:
    """The recording at a path, refused if it does not fit the run or the layer."""
    run, recording = site.run, site.run.recording(path)
    recording.check_run(run.denoiser.weights_hash, run.timesteps, sorted(site.steps), run.branches)
    recording.check_layer(site.layer)
    return recording
