"""The names by which users know diffusers' schedulers: classes, and the aliases of A1111 and k-diffusion."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import on_command_line, spelled

ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "euler": ("EulerDiscrete", {}),
    "euler a": ("EulerAncestralDiscrete", {}),
    "heun": ("HeunDiscrete", {}),
    "lms": ("LMSDiscrete", {}),
    "dpm2": ("KDPM2Discrete", {}),
    "dpm2 a": ("KDPM2AncestralDiscrete", {}),
    "dpm++": ("DPMSolverMultistep", {}),
    "dpm++ 2m": ("DPMSolverMultistep", {}),
    "dpm++ 2m sde": ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
    "sde-dpm++": ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++ sde": ("DPMSolverSinglestep", {}),
    "unipc": ("UniPCMultistep", {}),
    "deis": ("DEISMultistep", {}),
    "pndm": ("PNDM", {}),
    "ipndm": ("IPNDM", {}),
    "lcm": ("LCM", {}),
    "tcd": ("TCD", {}),
    "sa": ("SASolver", {}),
    "ddim": ("DDIM", {}),
    "ddpm": ("DDPM", {}),
    "flow euler": ("FlowMatchEulerDiscrete", {}),
    "flow heun": ("FlowMatchHeunDiscrete", {}),
}
"""Class and options by alias.

Source: the table of schedulers in diffusers' documentation (API, Schedulers), in which "DPM++ SDE" is the single-step
solver, a deterministic one.
"""
SPACINGS = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
"""Words that may end an alias, each with the option for the spacing of the noise levels that it switches on."""


def scheduler_class(name: str) -> tuple[Any, dict[str, Any]]:
    """The diffusers class that a name stands for, and the options that belong to the name.

    A name is a class, with or without the ending "Scheduler", or one of `ALIASES`, with or without one of `SPACINGS`
    behind it. Case, spaces, hyphens and underscores do not matter; "pp" is "++", and "ancestral" is "a".

    >>> scheduler_class("DPM++ 2M Karras")[0].__name__
    'DPMSolverMultistepScheduler'

    Raises: UserError with the nearest names.
    """
    import diffusers

    if (known := _classes().get(_plain(name))) is not None:
        return getattr(diffusers, known), {}
    aliases = {_plain(alias): value for alias, value in ALIASES.items()}
    plain = re.sub("ancestral", "a", _plain(name))
    spacing = next((word for word in SPACINGS if plain.endswith(word)), "")
    alias = aliases.get(plain.removesuffix(spacing))
    if alias is None:
        objects = "" if on_command_line() else ", or a scheduler object"
        raise UserError(
            f"{spelled('scheduler')} is {name!r}; the nearest names are {', '.join(nearest(name))}; allowed: an "
            f"alias such as ddim, euler or dpm++ 2m, or the name of a diffusers class{objects}"
        )
    kind = getattr(diffusers, f"{alias[0]}Scheduler")
    return kind, {**alias[1], **(_spaced(kind, spacing, name) if spacing else {})}


def alias_of(kind: str, config: Mapping[str, Any]) -> str:
    """The alias for a class with a configuration: the one that sets most of its options; the class itself if none fits.

    >>> alias_of("DPMSolverMultistepScheduler", {"use_karras_sigmas": True})
    'dpm++ karras'
    """
    fitting = {
        alias: options
        for alias, (name, options) in ALIASES.items()
        if f"{name}Scheduler" == kind
        and all(config.get(option) == value for option, value in options.items())
    }
    spacing = next((word for word, option in SPACINGS.items() if config.get(option)), "")
    if not fitting:
        return kind
    return f"{max(fitting, key=lambda alias: len(fitting[alias]))} {spacing}".rstrip()


def nearest(name: str) -> list[str]:
    """The three names of schedulers that are most like a name."""
    known = _classes() | {_plain(alias): alias for alias in ALIASES}
    near = difflib.get_close_matches(_plain(name), known, n=6, cutoff=0.0)
    return list(dict.fromkeys(known[item] for item in near))[:3]


def _spaced(kind: Any, spacing: str, name: str) -> dict[str, bool]:
    """The options that switch on one spacing of the noise levels and switch off the others."""
    if SPACINGS[spacing] not in inspect.signature(kind).parameters:
        raise UserError(
            f"{spelled('scheduler')} is {name!r}, but {kind.__name__} has no {spacing} spacing; leave out {spacing!r}"
        )
    return {option: word == spacing for word, option in SPACINGS.items()}


def _classes() -> dict[str, str]:
    """diffusers' classes of schedulers by their plain names, with and without the ending."""
    import diffusers

    names = [item for item in dir(diffusers) if item.endswith("Scheduler") and not item.startswith("Flax")]
    return {_plain(form): name for name in names for form in (name, name.removesuffix("Scheduler"))}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower().replace("+", "p"))
