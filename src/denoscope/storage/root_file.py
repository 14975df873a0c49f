"""The root file of a recording, which holds its attributes and describes its layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import layout_checksums
from denoscope.storage.plan import FORMAT
from denoscope.storage.stores.byte_store import ByteStore

Schema = TypeVar("Schema")


@dataclass(frozen=True)
class RootFile(Generic[Schema]):
    """One format's file. `attributes_key` is the key of the attributes in it, `schema` what it must hold.

    The completion marks and the checksums of the layout lie in the folder `marks`.
    """

    name: str
    attributes_key: str
    marks: str
    schema: type[Schema]
    indent: int
    ending: str = ""

    def read(self, store: ByteStore) -> Root[Schema]:
        """Return the file as it is now."""
        return Root(self, store.get(self.name))

    def set_attribute(self, store: ByteStore, name: str, value: Any) -> None:
        """Write one attribute into a recording, and its checksum."""
        changed = self.read(store).content
        changed[self.attributes_key][name] = value
        # A kill in between leaves the attribute without a checksum, never with another one's.
        layout_checksums.forget(store, self.marks, name)
        self.write(store, changed)
        layout_checksums.cover(store, self.marks, name, value)

    def write(self, store: ByteStore, content: dict[str, Any]) -> None:
        """Store the file."""
        store.put(self.name, (json.dumps(content, indent=self.indent) + self.ending).encode())


@dataclass(frozen=True)
class Root(Generic[Schema]):
    """The root file of one recording as it was read; `data` is None if it is missing."""

    file: RootFile[Schema]
    data: bytes | None

    @property
    def content(self) -> dict[str, Any]:
        """The content; nothing if the file is missing or not JSON."""
        try:
            return self._parsed
        except MalformedError:
            return {}

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes; nothing if they are missing or damaged."""
        attributes = self.content.get(self.file.attributes_key)
        return attributes if isinstance(attributes, dict) else {}

    @property
    def is_recording(self) -> bool:
        """Whether the file describes a recording."""
        return self.attributes.get("format") == FORMAT

    @cached_property
    def checked(self) -> Schema:
        """The part of the content that the schema describes.

        Raises: MalformedError naming the file, the key, its value and what is allowed.
        """
        return json_files.parse(self._present(), self.file.schema, self.file.name)

    def damaged(self, store: ByteStore) -> Iterator[str]:
        """Describe in one line each file of the layout that does not match its checksum, and each invalid entry."""
        try:
            rest = self._rest
        except MalformedError as error:
            yield str(error)
            return
        yield from layout_checksums.damaged(store, self.file.marks, self.file.name, self.attributes, rest)
        try:
            _ = self.checked
        except MalformedError as error:
            yield str(error)

    def own_damage(self, store: ByteStore) -> str:
        """Describe in one line what is wrong with this file alone; "" if nothing is."""
        try:
            _ = self.checked
        except MalformedError as error:
            return str(error)
        marks, name = self.file.marks, self.file.name
        return layout_checksums.damage_of_root(store, marks, name, self.attributes, self._rest)

    def is_changed(self, store: ByteStore, name: str) -> bool:
        """Return whether an attribute does not match its checksum; False if it has none.

        Raises: OSError if the checksums cannot be read.
        """
        return layout_checksums.is_changed(store, self.file.marks, name, self.attributes.get(name))

    @property
    def _rest(self) -> dict[str, Any]:
        """The content without the attributes."""
        return {key: value for key, value in self._parsed.items() if key != self.file.attributes_key}

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        return json_files.parse(self._present(), dict[str, Any], self.file.name)

    def _present(self) -> bytes:
        if self.data is None:
            raise MalformedError(f"{self.file.name} is missing")
        return self.data
