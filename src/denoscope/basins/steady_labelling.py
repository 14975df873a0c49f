"""A labelling whose description is known, so that it is not computed again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

from denoscope.basins.labelling import Answers, Labelling


@dataclass(frozen=True, eq=False)
class SteadyLabelling(Labelling):
    """A labelling whose network nobody changes.

    `described` is everything that determines its labels beside the plane; see `Labelling.origin`, which calls the network.
    """

    _: KW_ONLY
    described: Mapping[str, Any]

    @classmethod
    def of(cls, labelling: Labelling, **more: Any) -> Self:
        """The same labelling as another one.

        Args:
            more: the further fields of this class.
        """
        fields = {item.name: getattr(labelling, item.name) for item in dataclasses.fields(Labelling)}
        return cls(**fields, **more)

    @functools.cached_property
    def nothing(self) -> Answers:
        return super().nothing

    def origin(self, plane: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.described, "plane": dict(plane)}
