"""The options of a batch system, as a YAML file names them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from denoscope.cluster import job_rules
from denoscope.cluster.source import Jobs
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled

LOOPBACK = "127.0.0.1"


def read(source: Jobs) -> dict[str, Any]:
    """The arguments of dask-jobqueue's class in a file, completed, and `workers`, the number of workers.

    Raises: UserError if the file cannot be read, or names no network.
    """
    import dask
    import yaml

    flag = f"{spelled('cluster')} is {source.system}:{source.file}"
    try:
        content = yaml.safe_load(Path(source.file).read_text())
    except OSError as error:
        raise UserError(f"{flag}, which cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{flag}, which is not YAML: {first_line(error)}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{flag}, which holds no options by name")
    _check(source, content)
    configured = dask.config.get(f"jobqueue.{source.system}", {})
    return _completed(Path(source.file), content, configured)


def _check(source: Jobs, options: dict[str, Any]) -> None:
    """Refuse options that would be misunderstood, and a scheduler whose network is not named."""
    job_rules.check(source.file, source.system, {"workers": None, **options})
    of_scheduler = options.get("scheduler_options") or {}
    if not (options.get("interface") or of_scheduler.get("host")):
        raise UserError(
            f"{source.file} names no network; allowed: interface: lo for this machine alone, or the interface of the "
            "cluster's own network, such as ib0: whoever reaches the port of a scheduler can run programs in your name"
        )


def _completed(file: Path, options: dict[str, Any], configured: dict[str, Any]) -> dict[str, Any]:
    """The options with defaults for those that neither the file nor Dask's configuration names."""
    of_scheduler = options.get("scheduler_options") or {}
    extra = options.get("worker_extra_args") or configured.get("worker-extra-args") or []
    prologue = options.get("job_script_prologue") or configured.get("job-script-prologue") or []
    return {
        "processes": 1,
        "job_name": "denoscope",
        # The environment may be another one in a job's shell.
        "python": configured.get("python") or shlex.quote(sys.executable),
        "log_directory": configured.get("log-directory") or str(file.absolute().with_suffix(".logs")),
        **options,
        # Dask's own page would be open to every machine that reaches this one.
        "scheduler_options": {"dashboard_address": f"{_host(file, options)}:0", **of_scheduler},
        # Dask's profile of all threads would take time from their work.
        "job_script_prologue": ["export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False", *prologue],
        # The batch system limits the memory; Dask would pause a worker whose libraries need much.
        "worker_extra_args": ["--memory-limit", "0", "--dashboard-address", f"{LOOPBACK}:0", *extra],
    }


def _host(file: Path, options: dict[str, Any]) -> str:
    """The address at which the scheduler listens.

    Raises: UserError if this machine has no such interface.
    """
    from distributed.utils import get_ip_interface

    of_scheduler = options.get("scheduler_options") or {}
    if host := of_scheduler.get("host"):
        return str(host)
    interface = of_scheduler.get("interface") or options["interface"]
    try:
        return get_ip_interface(interface)
    except ValueError as error:
        raise UserError(f"{file}: interface is {interface!r}: {first_line(error)}") from error
