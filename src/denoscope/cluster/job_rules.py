"""The options that a YAML file of a batch system may hold, and the values that each allows."""

from __future__ import annotations

import difflib
import inspect
import signal
from collections.abc import Callable, Mapping
from typing import Any

from denoscope.foundation.errors import UserError, missing_library
from denoscope.foundation.spelling import spelled

FROM_PYTHON = {"self", "job_cls", "loop", "asynchronous", "scheduler", "scheduler_cls", "n_workers", "kwargs"}
"""Arguments of dask-jobqueue and of Dask's scheduler for which a file has no values, or which are set here."""
OF_SCHEDULER = {"dashboard_address", "host"}
"""Arguments that dask-jobqueue takes among the options of the scheduler only."""
RENAMED = {
    "extra": "worker_extra_args",
    "job_extra": "job_extra_directives",
    "env_extra": "job_script_prologue",
    "header_skip": "job_directives_skip",
}
PROTOCOLS = ("tcp", "tls", "tcp://", "tls://")
LISTS = (
    "worker_extra_args",
    "job_extra_directives",
    "job_script_prologue",
    "job_directives_skip",
    "submit_command_extra",
    "cancel_command_extra",
)
Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and which are."""


def check(file: str, system: str, options: Mapping[str, Any]) -> None:
    """Refuse options that dask-jobqueue does not have, or would misunderstand.

    Raises: UserError naming the file, the option, its value and what is allowed.
    """
    _check_names(file, f"an option of {system}", options, option_names(system))
    rules = _rules(system)
    for name, value in options.items():
        if value is None and name != "workers":
            continue  # not set
        is_allowed, allowed = rules.get(name, _TEXT)
        if not is_allowed(value):
            raise UserError(f"{file}: {name} is {value!r}; allowed: {allowed}")
    _check_names(
        file, "one of the scheduler_options", options.get("scheduler_options") or {}, _scheduler_names()
    )
    cores, processes = options.get("cores"), options.get("processes") or 1
    if cores is not None and cores != processes:
        raise UserError(
            f"{file}: cores is {cores}; allowed: {processes}, one for each process, since a worker does one task at a time; "
            "more cores for its threads are asked for in other ways, such as job_cpu of slurm"
        )


def jobqueue() -> Any:
    """The library dask-jobqueue, without the handler of Ctrl-C that it installs when it is imported.

    Raises: UserError if it is missing.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise missing_library(spelled("cluster"), "dask_jobqueue", "cluster") from error
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


def cluster_class(system: str) -> Any:
    """The class of dask-jobqueue for a batch system."""
    library = jobqueue()
    return next(getattr(library, name) for name in dir(library) if name.lower() == f"{system}cluster")


def option_names(system: str) -> set[str]:
    """The options that a file for a batch system may hold."""
    cluster = cluster_class(system)
    kinds = [cluster, *cluster.job_cls.__mro__]
    found = {name for kind in kinds for name in _named(kind.__init__)}
    return (found | {"workers"}) - FROM_PYTHON - OF_SCHEDULER - set(RENAMED)


def _scheduler_names() -> set[str]:
    from distributed import Scheduler

    return _named(Scheduler.__init__) - FROM_PYTHON


def _named(function: Callable[..., Any]) -> set[str]:
    """The arguments of a function that have a name of their own."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}


def _check_names(file: str, kind: str, options: Mapping[str, Any], allowed: set[str]) -> None:
    for name in options:
        if name in allowed:
            continue
        near = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(str(name), allowed, n=1)
        near = ["scheduler_options"] if name in OF_SCHEDULER else near
        meant = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{file}: {name!r} is not {kind}; {meant}allowed: {', '.join(sorted(allowed))}")


def _rules(system: str) -> dict[str, Rule]:
    """What the options allow that are not texts."""
    lists: Rule = (_is_list, "a list, such as [--exclusive]")
    directives: Rule = (lambda value: isinstance(value, dict), "values by name, such as {getenv: true}")
    return {
        **dict.fromkeys(("workers", "cores", "processes", "job_cpu", "ncpus", "mem"), _COUNT),
        **dict.fromkeys(("nanny", "use_stdin"), _FLAG),
        **dict.fromkeys(("memory", "disk"), _BYTES),
        **dict.fromkeys(LISTS, lists),
        **({"job_extra_directives": directives} if system == "htcondor" else {}),
        "security": (
            lambda value: value is True,
            "true, for certificates of this run alone; others are named in Dask's configuration",
        ),
        "protocol": (lambda value: value in PROTOCOLS, "tcp or tls"),
        "walltime": (lambda value: isinstance(value, str), 'a time in quotes, such as "00:30:00"'),
        "death_timeout": (_is_time, "a time, such as 60 or 5m"),
        "scheduler_options": (
            lambda value: isinstance(value, dict),
            "options by name, such as {host: 10.0.0.1}",
        ),
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int) for item in value)


def _is_size(value: object) -> bool:
    from dask.utils import parse_bytes

    return _is_read_by(parse_bytes, value)


def _is_time(value: object) -> bool:
    from dask.utils import parse_timedelta

    return _is_read_by(parse_timedelta, value)


def _is_read_by(read: Callable[[Any], Any], value: object) -> bool:
    """Whether a function of Dask reads a positive number from a value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        return bool(read(value) > 0)
    except (ValueError, KeyError):
        return False


_COUNT: Rule = (_is_count, "an integer of at least 1")
_FLAG: Rule = (lambda value: isinstance(value, bool), "true or false")
_BYTES: Rule = (_is_size, "a size in memory or on disk, such as 4GB")
_TEXT: Rule = (
    lambda value: isinstance(value, str | int) and not isinstance(value, bool) and value != "",
    "a text",
)
