"""The commands that make a recording again, from its attributes."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from denoscope.config import PLANE_ARGUMENTS, InferenceConfig
from denoscope.models import bundled
from denoscope.models.scheduler_names import alias_of, scheduler_class
from denoscope.recording.recording import Recording

NOISE_FLAGS: Mapping[str, Mapping[str, str]] = {
    "random": {"num_samples": "num_samples", "seed": "seed"},
    "perturbed": {
        name: name for name in ("num_perturbations", "epsilon", "base_seed", "perturb_seed", "directions")
    },
    "plane": {
        **PLANE_ARGUMENTS,
        **{name: name for name in ("base_seed", "direction_seeds", "geometry", "endpoint")},
    },
}
"""The flag of each parameter of the noises that `denoscope noise` makes, by their kind."""
DESCRIBING = ("kind", "format", "shape")
"""Parameters of noises that no flag sets."""
LINE = 90
"""Characters of a line, unless a flag has more."""
ALWAYS = ("num_steps", "layers")
"""Options that the command states even where they have their default."""


@dataclass(frozen=True)
class Commands:
    """The commands that make a recording again, and what they cannot say, one sentence each."""

    lines: tuple[str, ...]
    caveats: tuple[str, ...]


def commands(rec: Recording) -> Commands:
    """How to make a recording again; without lines where no command can."""
    attrs = rec.attrs
    if reason := _impossible(attrs):
        return Commands((), (reason,))
    noises, missing = _noises(attrs, len(rec.samples))
    return Commands((*noises, _record(rec)), (*missing, *_conditions(attrs)))


def _impossible(attrs: Mapping[str, Any]) -> str:
    """Why no command makes a recording again, if that is so."""
    if pipeline := attrs.get("pipeline"):
        return f"It was recorded from a {pipeline} call, whose prompts and random numbers it does not hold."
    if "image" in attrs["fingerprint"]:
        return "It begins with an image with noise, which it does not hold without the noise."
    if attrs["model"] == attrs["fingerprint"]["network"].rpartition(".")[2]:
        return f"It was recorded from a {attrs['model']} that was built in Python, which it does not hold."
    return ""


def _noises(attrs: Mapping[str, Any], samples: int) -> tuple[list[str], list[str]]:
    """The commands that write the noises, and sentences about noises that they do not write."""
    inputs = attrs.get("inputs", {})
    sets = inputs.get("sets", []) if inputs.get("kind") == "folder" else [inputs]
    lines, missing, written = [], [], 0
    for parameters in sets:
        names, unknown = _names_of(parameters)
        count = _count(parameters)
        if unknown or count is None:
            missing.append(f"No command writes its noises, which have {unknown or 'no number'}.")
            continue
        words = ["denoscope", "noise", parameters["kind"], "--model", attrs["model"]]
        lines.append(_line(words, (_flag(flag, parameters[name]) for name, flag in names.items())))
        written += count
    if not sets:
        missing.append("Its noises were read from a folder that does not say how they were made.")
    elif not missing and written != samples:
        missing.append(f"It holds {samples:,} of the {written:,} noises that these commands write.")
    return lines, missing


def _names_of(parameters: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """The flag of each parameter of a set of noises, and what no flag sets, in words."""
    kind = str(parameters.get("kind"))
    if kind not in NOISE_FLAGS:
        return {}, f"the kind {kind!r}"
    flags = {name: flag for name, flag in NOISE_FLAGS[kind].items() if name in parameters}
    unknown = [name for name in parameters if name not in flags and name not in DESCRIBING]
    return flags, f"{', '.join(unknown)} of their own" if unknown else ""


def _count(parameters: Mapping[str, Any]) -> int | None:
    """The number of noises in a set; None if its parameters do not say it."""
    match parameters:
        case {"kind": "random", "num_samples": int(count)}:
            return count
        case {"kind": "perturbed", "num_perturbations": int(count)}:
            return count + 1
        case {"kind": "plane", "counts": [int(columns), int(rows)]}:
            return columns * rows
    return None


def _record(rec: Recording) -> str:
    """The command that records the noises."""
    attrs, made_by = rec.attrs, rec.attrs["fingerprint"]
    output = "run.zarr" if rec.path is None else str(rec.path)
    files = [["--inputs", "inputs"], ["--output", output]]
    flags = [*files, *_scheduler_flags(made_by), *_precision_flags(attrs), *_options(attrs)]
    return _line(["denoscope", "record", "--model", attrs["model"]], flags)


def _scheduler_flags(made_by: Mapping[str, Any]) -> Iterator[list[str]]:
    kind, config = made_by["scheduler"], made_by["scheduler_config"]
    yield ["--scheduler", alias_of(kind, config)]
    if "clip_sample" in config and "clip_sample" in inspect.signature(scheduler_class(kind)[0]).parameters:
        yield ["--clip_sample", str(config["clip_sample"])]


def _precision_flags(attrs: Mapping[str, Any]) -> Iterator[list[str]]:
    """The precision, the device and the threads, on which the last bits depend."""
    made_by = attrs["fingerprint"]
    if attrs["model"] not in bundled.names() or made_by["dtype"] != "float32":
        yield ["--dtype", made_by["dtype"]]
    if device := str(made_by.get("device", "")).partition(" ")[0]:
        yield ["--device", device]
    yield ["--threads", str(made_by["threads"])]


def _options(attrs: Mapping[str, Any]) -> Iterator[list[str]]:
    """The options of a recording that differ from the defaults, as words of the command."""
    config, defaults = attrs["config"], vars(InferenceConfig())
    own_schedule = config.get("timesteps") or config.get("sigmas")
    for name, default in defaults.items():
        if name not in config or (name == "num_steps" and own_schedule):
            continue
        value = tuple(config[name]) if isinstance(config[name], list) else config[name]
        if value != default or (name in ALWAYS and value):
            yield _flag(name, value)
    yield _flag("seed", config["noise_seed"])


def _conditions(attrs: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about what was given in Python, or in files."""
    config = attrs["config"]
    if attrs.get("condition") and not (config.get("labels") or config.get("condition")):
        yield "Its condition was given in Python, and the recording does not hold it."
    if attrs.get("interventions") and not config.get("intervene"):
        yield "Its interventions were given in Python; its attributes list them."
    for name in ("condition", "intervene"):
        if config.get(name):
            yield f"The file {config[name]} must be as it was then."


def _flag(name: str, value: Any) -> list[str]:
    """A flag with its value as words."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no_{name}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"--{name}", *map(str, values)]


def _line(words: Sequence[str], flags: Iterable[Sequence[str]]) -> str:
    """A command that a shell reads as these words, in lines that each begin with a flag."""
    lines = [shlex.join(words)]
    for flag in map(shlex.join, flags):
        if len(lines[-1]) + len(flag) < LINE:
            lines[-1] += f" {flag}"
        else:
            lines.append(f"    {flag}")
    return " \\\n".join(lines)
