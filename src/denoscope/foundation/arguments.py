"""Decorators for public functions: one checks the types of arguments, one accepts `num_steps` for `steps`."""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe

P = typing.ParamSpec("P")
R = typing.TypeVar("R")
Test = Callable[[Any], bool]

_PATHS = (Path, os.PathLike, os.PathLike[str])
DENOISER = "a denoiser, from ds.load('mnist') or ds.load(module, scheduler=…, shape=(C, H, W))"
_DESCRIPTIONS = {
    "Denoiser": DENOISER,
    "Condition": "a condition, such as ds.Condition({name: tensor, …})",
    "Recording": "a recording, as ds.open or ds.record returns it",
    "GaussianTheory": "a result of ds.dynamics.gaussian_theory",
    "Speciation": "a result of ds.dynamics.speciation",
    "ModelConfig": "a ModelConfig",
    "LeNet5": "a LeNet5",
    "DigitsCNN": "a DigitsCNN",
    "dtype": "a torch.dtype",
}
"""How messages describe an instance of each class, and where to get one."""


def arguments_checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which then refuses arguments whose type its annotations exclude.

    The check covers booleans, strings, paths, functions, mappings, lists of strings and instances of the package's own
    classes. Numbers and arrays come in many types; the function checks those itself.

    Raises: UserError naming the argument, its value and what is allowed.
    """
    signature = inspect.signature(function)

    @functools.cache
    def rules() -> dict[str, list[tuple[Test, str]]]:
        hints = _resolved(function)
        by_name = {name: _rules(hints[name]) for name in signature.parameters if name in hints}
        return {name: allowed for name, allowed in by_name.items() if allowed}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        # The call itself reports missing and unknown arguments, as for any function.
        given = signature.bind_partial(*args).arguments if args else {}
        for name, value in {**given, **kwargs}.items():
            allowed = rules().get(name)
            if allowed and not any(test(value) for test, _ in allowed):
                words = " or ".join(dict.fromkeys(text for _, text in allowed))
                raise UserError(f"{spelled(name)} is {describe(value)}; allowed: {words}")
        return function(*args, **kwargs)

    return checked


def accepts_num_steps(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which also accepts its keyword argument `steps` as `num_steps`, the name of the command's flag.

    >>> @accepts_num_steps
    ... def run(*, steps=50):
    ...     return steps
    >>> run(num_steps=20)
    20

    Raises: UserError if a call gives both.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "num_steps" in kwargs:
            if "steps" in kwargs:
                raise UserError(
                    f"steps={kwargs['steps']!r} and num_steps={kwargs['num_steps']!r} are two names of one "
                    "argument; give one of them"
                )
            kwargs["steps"] = kwargs.pop("num_steps")
        return function(*args, **kwargs)

    return call


def _resolved(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function as types, without those whose names are imported for type checkers only."""
    resolved = {}
    for name, text in inspect.get_annotations(inspect.unwrap(function)).items():
        try:
            resolved[name] = (
                eval(text, inspect.unwrap(function).__globals__) if isinstance(text, str) else text
            )
        except NameError:
            continue
    return resolved


def _rules(hint: Any) -> list[tuple[Test, str]]:
    """The types that an annotation allows, each as a test and a description; empty if a part of it is not checked."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        is_path = any(option in _PATHS for option in options)
        # The rule for paths covers strings.
        parts = [_rules(option) for option in options if not (is_path and option is str)]
        return [rule for part in parts for rule in part] if all(parts) else []
    if hint is None or hint is type(None):
        return [(lambda value: value is None, "None")]
    if hint is bool:
        return [(lambda value: isinstance(value, (bool, np.bool_)), "True or False")]
    if hint is str:
        return [(lambda value: isinstance(value, str), "a text")]
    if hint in _PATHS:
        return [(_is_path, "a path")]
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Callable or (isinstance(hint, type) and getattr(hint, "_is_protocol", False)):
        return _rules_of_protocol(hint)
    if origin is Mapping:
        return [(lambda value: isinstance(value, Mapping), "a mapping")]
    if origin in (Sequence, Iterable) and arguments == (str,):
        return [(_is_list_of_strings, "texts in a list")]
    if isinstance(hint, type) and hint.__name__ in _DESCRIPTIONS:
        return [(lambda value: isinstance(value, hint), _DESCRIPTIONS[hint.__name__])]
    return []


def _rules_of_protocol(hint: Any) -> list[tuple[Test, str]]:
    names = [name for name in vars(hint) if name == "__call__" or not name.startswith("_")]
    if not isinstance(hint, type) or "__call__" in names:
        return [(callable, "a function")]
    return [
        (
            lambda value: not isinstance(value, type) and all(hasattr(value, name) for name in names),
            f"an object with {', '.join(names)}",
        )
    ]


def _is_path(value: Any) -> bool:
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    return isinstance(text, str) and text != "" and "\0" not in text


def _is_list_of_strings(value: Any) -> bool:
    is_list = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1)
    return is_list and not isinstance(value, (str, bytes)) and all(isinstance(item, str) for item in value)
