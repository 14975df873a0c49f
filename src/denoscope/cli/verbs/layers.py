"""`denoscope layers`."""

from __future__ import annotations

from dataclasses import dataclass

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class LayersFlags(OwnFlags):
    """Which layers of which model are listed."""

    model: str = option(
        "mnist",
        "A bundled model, a folder in diffusers' layout or file of weights, or a hub id.",
        positional=True,
    )
    query: tuple[str, ...] = option(
        ("**",),
        "Paths with * and **, re:PATTERN, type:CLASS, first, last, h-space; then :in, :out, :diff, :q, :k, :v, "
        ":probs, [0]; ! excludes.",
        positional=True,
    )


def run(_settings: Settings, flags: LayersFlags) -> None:
    from denoscope.cli import layer_table

    print(layer_table.table(layer_table.find(flags.model, flags.query)))


VERB = Verb(
    run,
    "List the layers of a model that match queries, with shapes and sizes; reads no weights.",
    {},
    LayersFlags,
)
