"""The `config.py` beside the scripts, which a user edits."""

from __future__ import annotations

import importlib.util
import typing
from pathlib import Path

from denoscope.config import Settings
from denoscope.foundation.errors import UserError


def read(path: Path) -> Settings:
    """The `SETTINGS` of a `config.py`.

    Raises: UserError if the file fails, or lacks a configuration.
    """
    try:
        return _settings_of(path)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error


def _settings_of(path: Path) -> Settings:
    spec = importlib.util.spec_from_file_location("config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # anything that a user may have written, also sys.exit()
        raise UserError(f"{type(error).__name__}: {error}") from error
    settings = vars(module).get("SETTINGS")
    for name, expected in vars(Settings()).items():
        value = getattr(settings, name, None)
        if not isinstance(value, type(expected)):
            raise UserError(f"SETTINGS.{name} is {value!r}; allowed: a {type(expected).__name__}(…)")
    return typing.cast(Settings, settings)
