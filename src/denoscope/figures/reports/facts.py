"""Facts about a recording or a result, as rows of a name and a text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from denoscope.figures.reports.numbers import shortened
from denoscope.foundation.json_values import flat

MOST_FACTS = 80
"""The most entries of a description that are shown."""
Fact = tuple[str, str]


def digest_of(fingerprint: Mapping[str, Any]) -> str:
    """The SHA-256 of a fingerprint, by which a page names it."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def described(content: Mapping[str, Any]) -> list[Fact]:
    """The entries of a nested description."""
    entries = [(shortened(name), shortened("—" if value is None else value)) for name, value in flat(content)]
    more = len(entries) - MOST_FACTS
    return entries[:MOST_FACTS] + ([("…", f"{more:,} further entries are left out")] if more > 0 else [])
