"""The root file of a recording, which holds its attributes and describes its layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
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

    def content(self, store: ByteStore) -> dict[str, Any]:
        """Return the content; nothing if the file is missing or not JSON."""
        try:
            return json_files.parse(store.get(self.name) or b"", dict[str, Any], self.name)
        except MalformedError:
            return {}

    def attributes(self, store: ByteStore) -> dict[str, Any]:
        """Return the attributes; nothing if they are missing or damaged."""
        attributes = self.content(store).get(self.attributes_key)
        return attributes if isinstance(attributes, dict) else {}

    def is_recording(self, store: ByteStore) -> bool:
        """Return whether the file describes a recording."""
        return self.attributes(store).get("format") == FORMAT

    def checked(self, store: ByteStore) -> Schema:
        """Return the part of the content that the schema describes.

        Raises: MalformedError naming the file, the key, its value and what is allowed.
        """
        data = store.get(self.name)
        if data is None:
            raise MalformedError(f"{self.name} is missing")
        return json_files.parse(data, self.schema, self.name)

    def set_attribute(self, store: ByteStore, name: str, value: Any) -> None:
        """Write one attribute into a recording, and its checksum."""
        changed = self.content(store)
        changed[self.attributes_key][name] = value
        # A kill in between leaves the attribute without a checksum, never with another one's.
        layout_checksums.forget(store, self.marks, name)
        self.write(store, changed)
        layout_checksums.cover(store, self.marks, name, value)

    def write(self, store: ByteStore, content: dict[str, Any]) -> None:
        """Store the file."""
        store.put(self.name, (json.dumps(content, indent=self.indent) + self.ending).encode())

    def damaged(self, store: ByteStore) -> Iterator[str]:
        """Describe in one line each file of the layout that does not match its checksum, and each invalid entry."""
        data = store.get(self.name)
        if data is None:
            yield f"{self.name} is missing"
            return
        try:
            rest = json_files.parse(data, dict[str, Any], self.name)
        except MalformedError as error:
            yield str(error)
            return
        attributes = rest.pop(self.attributes_key, None)
        attributes = attributes if isinstance(attributes, dict) else {}
        yield from layout_checksums.damaged(store, self.marks, self.name, attributes, rest)
        try:
            self.checked(store)
        except MalformedError as error:
            yield str(error)
