"""A table of the layers of a model, with the bytes that recording them takes."""

from __future__ import annotations

from collections.abc import Sequence

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.spelling import counted, naming
from denoscope.hooks.address_survey import layers_at
from denoscope.hooks.module_survey import Layer, aliases_of
from denoscope.hooks.queries import choose
from denoscope.models import families, sources
from denoscope.models.model_folder import blueprint

HEADING = ("layer", "class", "shape", "dtype", "calls", "bytes a step and sample")


def find(model: str, queries: Sequence[str]) -> list[Layer]:
    """The layers that queries match in a bundled model, a folder or a hub id; no weights are read."""
    network = blueprint(sources.find(model, argument="model").network, name=model)
    surveyed = families.layers_of(network)
    with naming("query"):
        addresses = choose(queries, surveyed, aliases_of(network))
        return layers_at(network, addresses, surveyed, families.dry_run(network))


def table(layers: Sequence[Layer]) -> str:
    """One line for each layer, and a last line with their total size."""
    rows = [HEADING, *map(_row, layers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADING))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    total = format_bytes(sum(layer.bytes for layer in layers))
    return "\n".join([*lines, f"{counted(len(layers), 'layer')}, {total} a step and sample"])


def _row(layer: Layer) -> tuple[str, ...]:
    shape = "not recordable" if layer.shape is None else str(list(layer.shape))
    shape += f" (first of {layer.elements})" if layer.elements > 1 else ""
    dtype = "" if layer.dtype is None else name_of(layer.dtype)
    return layer.address, layer.kind, shape, dtype, str(layer.calls), str(layer.bytes)
