"""A labelling whose network nobody changes, so that what describes it is computed once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from denoscope.basins.labelling import Answers, Labelling


@dataclass(frozen=True, eq=False)
class SteadyLabelling(Labelling):
    """A labelling that computes its description, which takes a call of the network, once."""

    @classmethod
    def of(cls, labelling: Labelling, **more: Any) -> Self:
        """The same labelling as another one.

        Args:
            more: the further fields of a subclass.
        """
        fields = {item.name: getattr(labelling, item.name) for item in dataclasses.fields(Labelling)}
        return cls(**fields, **more)

    @functools.cached_property
    def nothing(self) -> Answers:
        return super().nothing

    def origin(self, plane: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._origin, "plane": dict(plane)}

    @functools.cached_property
    def _origin(self) -> dict[str, Any]:
        return super().origin({})
