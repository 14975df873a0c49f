"""Names of a package that import their module when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str], submodules: Sequence[str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562).

    Args:
        modules: the module, relative to the package, that defines each name.
        submodules: modules of the package that are names themselves.
    """

    def get(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
