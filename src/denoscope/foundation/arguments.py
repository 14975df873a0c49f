"""Decorators for public functions: they check calls and the types of arguments, and accept `num_steps` for `steps`."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError, WrongCallError
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.spelling import counted, spelled
from denoscope.foundation.validation import check_call, describe

P = typing.ParamSpec("P")
R = typing.TypeVar("R")
C = typing.TypeVar("C", bound=Callable[..., Any])
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
}
"""How messages describe an instance of each class, and where to get one."""


def calls_checked(target: C) -> C:
    """The function or class, which then refuses calls with unknown, missing or superfluous arguments.

    >>> @calls_checked
    ... def run(x, *, steps=50):
    ...     return x, steps
    >>> run(1, stepz=3)
    Traceback (most recent call last):
    denoscope.foundation.errors.WrongCallError: run() has no argument 'stepz'; did you mean steps?

    Raises: UserError, also a TypeError, with the name of the function, the argument and the nearest one that exists.
    """
    if isinstance(target, type):
        init = vars(target)["__init__"]
        setattr(target, "__init__", _calls_checked(init, target.__name__))  # noqa: B010
        return target
    return typing.cast(C, _calls_checked(target, target.__name__))


def _calls_checked(function: Callable[P, R], name: str) -> Callable[P, R]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        _bound(name, signature, args, kwargs)
        return function(*args, **kwargs)

    return checked


def arguments_checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which then refuses wrong calls, as `calls_checked`, and types that its annotations exclude.

    The check covers booleans, strings, paths, functions and the number of their arguments, mappings, lists of strings
    and instances of the package's own classes. Numbers and arrays come in many types; the function checks those itself.
    A path where nothing can be is refused too, such as one below a file.

    Raises: UserError naming the argument, its value and what is allowed.
    """
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        resolved = _resolved(function)
        return {name: resolved[name] for name in signature.parameters if name in resolved}

    @functools.cache
    def rules() -> dict[str, list[tuple[Test, str]]]:
        by_name = {name: _rules(hint) for name, hint in hints().items()}
        return {name: allowed for name, allowed in by_name.items() if allowed}

    @functools.cache
    def calls() -> dict[str, tuple[str, ...]]:
        return {name: call for name, hint in hints().items() if (call := _call_of(hint))}

    @functools.cache
    def paths() -> list[str]:
        return [name for name, hint in hints().items() if _takes_path(hint)]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = _bound(function.__name__, signature, args, kwargs)
        for name, value in given.items():
            allowed = rules().get(name)
            if allowed and not any(test(value) for test, _ in allowed):
                words = " or ".join(dict.fromkeys(text for _, text in allowed))
                remedy = _remedy(name, given, allowed)
                raise UserError(f"{spelled(name)} is {describe(value)}; allowed: {words}{remedy}")
            if callable(value) and name in calls():
                check_call(value, calls()[name], spelled(name))
        for name in paths():
            if isinstance(given.get(name), (str, os.PathLike)):
                check_possible(given[name], name)
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


def _bound(
    function: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by their names.

    Raises: WrongCallError if they do not fit the signature.
    """
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise WrongCallError(f"{function}() {_mistake(signature, args, kwargs) or error}") from None


def _mistake(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What is wrong in a call, and how to correct it; empty if it is none of the usual mistakes."""
    parameters = [item for item in signature.parameters.values() if item.name != "self"]
    # `self`, which a class gets by position, is not the caller's.
    args = args[len(signature.parameters) - len(parameters) :]
    names = [item.name for item in parameters]
    if unknown := next((name for name in kwargs if name not in names), None):
        return f"has no argument {unknown!r}; {_nearest(unknown, parameters)}"
    by_position = [item.name for item in parameters if item.kind is not item.KEYWORD_ONLY]
    if len(args) > len(by_position):
        count = counted(len(by_position), "argument")
        others = [name for name in names if name not in (*by_position, *kwargs)]
        surplus = describe(args[len(by_position)])
        example = (
            f"; give others by name: {', '.join(f'{name}=…' for name in others[:3])}"
            if others
            else f"; leave out {surplus}"
        )
        return f"takes {count} by position ({', '.join(by_position)}), and got {len(args)}{example}"
    if twice := next((name for name in by_position[: len(args)] if name in kwargs), None):
        return f"got {twice} twice, by position and by name; give it once"
    missing = [
        item.name
        for item in parameters
        if item.default is item.empty and item.name not in (*by_position[: len(args)], *kwargs)
    ]
    needed = [
        f"{item.name}=…" if item.kind is item.KEYWORD_ONLY else item.name
        for item in parameters
        if item.default is item.empty
    ]
    return f"needs {' and '.join(missing)}; call it with ({', '.join(needed)}, …)" if missing else ""


def _nearest(unknown: str, parameters: Sequence[inspect.Parameter]) -> str:
    """The argument that an unknown name may stand for, otherwise all that there are."""
    names = [item.name for item in parameters]
    # `accepts_num_steps` accepts the second name of a number of steps.
    if any(item.name == "steps" and "Sequence" not in str(item.annotation) for item in parameters):
        names.append("num_steps")
    if near := difflib.get_close_matches(unknown, names, n=1):
        return f"did you mean {near[0]}?"
    return f"allowed: {', '.join(names)}" if names else "it takes none"


def _remedy(name: str, given: Mapping[str, Any], allowed: Sequence[tuple[Test, str]]) -> str:
    """How to correct a refused argument: swap it with one whose value fits there, or make a list of an iterator."""
    own = [test for test, text in allowed if text in _DESCRIPTIONS.values()]
    for other, value in given.items():
        if other != name and any(test(value) for test in own):
            return f"; {spelled(name)} and {spelled(other)} may be swapped"
    is_list_allowed = any(test is _is_list_of_strings for test, _ in allowed)
    return "; make a list of it: list(…)" if isinstance(given[name], Iterator) and is_list_allowed else ""


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


def _takes_path(hint: Any) -> bool:
    """Whether an annotation allows a path."""
    return any(option in _PATHS for option in (hint, *typing.get_args(hint)))


def _rules(hint: Any) -> list[tuple[Test, str]]:
    """The types that an annotation allows, each as a test and a description; empty if a part of it is not checked."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        is_path = _takes_path(hint)
        # The rule for paths covers strings.
        parts = [_rules(option) for option in options if not (is_path and option is str)]
        return [rule for part in parts for rule in part] if all(parts) else []
    if hint is None or hint is type(None):
        return [(lambda value: value is None, "None")]
    if hint is bool:
        return [(lambda value: isinstance(value, (bool, np.bool_)), "True or False")]
    if hint is str:
        return [(lambda value: isinstance(value, str), "a string")]
    if hint in _PATHS:
        return [(_is_path, "a path")]
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Callable or (isinstance(hint, type) and getattr(hint, "_is_protocol", False)):
        return _rules_of_protocol(hint)
    if origin is Mapping:
        return [(lambda value: isinstance(value, Mapping), "a mapping")]
    if origin in (Sequence, Iterable) and arguments == (str,):
        return [(_is_list_of_strings, "a list of strings")]
    if isinstance(hint, type) and hint.__name__ in _DESCRIPTIONS:
        return [(lambda value: isinstance(value, hint), _DESCRIPTIONS[hint.__name__])]
    return []


def _call_of(hint: Any) -> tuple[str, ...]:
    """The types of the arguments with which a function of an annotation is called; empty if it states none."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(filter(None, map(_call_of, typing.get_args(hint))), ())
    if typing.get_origin(hint) is not Callable or not isinstance(typing.get_args(hint)[0], list):
        return ()
    return tuple(getattr(kind, "__name__", str(kind)) for kind in typing.get_args(hint)[0])


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
