"""The recorded layers of a dataset, by address or by the query that named them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from denoscope.foundation.errors import UnknownKeyError, UserError
from denoscope.foundation.validation import describe
from denoscope.hooks.addresses import parse
from denoscope.storage.plan import IMAGES

if TYPE_CHECKING:
    import xarray


class RecordedStates(Mapping[str, Any]):
    """A mapping from addresses to states, with the dimensions channel, height, width, … instead of `ADDRESS.channel`.

    A layer is also found by a query that names it alone, such as `h-space`, `first` or `conv_in:out`. Iteration yields
    addresses in the order in which they were recorded.
    """

    def __init__(self, dataset: xarray.Dataset):
        self._dataset = dataset
        layers = [str(name) for name in dataset.data_vars if name not in IMAGES]
        # Zarr lists arrays by name.
        order = {address: place for place, address in enumerate(dataset.attrs["fingerprint"]["layers"])}
        self._addresses = sorted(layers, key=lambda layer: order.get(layer, len(order)))

    def __getitem__(self, query: str) -> xarray.DataArray:
        address = self.address(query)
        array, prefix = self._dataset[address], f"{address}."
        return array.rename({dim: str(dim).removeprefix(prefix) for dim in array.dims})

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    def __repr__(self) -> str:
        shapes = (f"{address} {list(self._dataset[address].shape)}" for address in self._addresses)
        return f"<RecordedStates: {', '.join(shapes) or 'none'}>"

    def address(self, query: str) -> str:
        """The recorded address that a query names.

        Raises: UnknownKeyError (a UserError and a KeyError) if no recorded layer matches.
        """
        if query in self._addresses:
            return query
        address = (self._requested().get(query) or _normal_form(query)) if isinstance(query, str) else None
        if address not in self._addresses:
            recorded = ", ".join(self._addresses) or "none"
            raise UnknownKeyError(f"layer {describe(query)} was not recorded; recorded layers: {recorded}")
        return address

    def _requested(self) -> dict[str, str]:
        """The address of each query that the recording was made with, if each of them named one layer."""
        queries = self._dataset.attrs["config"]["layers"] or ("first", "last")
        addresses = self._dataset.attrs["fingerprint"]["layers"]
        patterns = any(query.startswith(("!", "re:", "type:")) or "*" in query for query in queries)
        return (
            {} if patterns or len(queries) != len(addresses) else dict(zip(queries, addresses, strict=True))
        )


def _normal_form(query: str) -> str:
    """The address that a query spells in another way, such as `mid_block:out` or `h-space`."""
    try:
        address = parse(query)
    except (UserError, TypeError):
        return ""
    return str(replace(address, path="mid_block") if address.path == "h-space" else address)
