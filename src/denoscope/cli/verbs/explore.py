"""`denoscope explore`."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli import preflight
from denoscope.cli.output import ending
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import MAP_LANES, Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from denoscope.explorer.session import Session

LIBRARIES = ("starlette", "uvicorn")
PORT = ("an integer from 1024 to 65535", lambda value: 1024 <= value <= 65535)


@dataclass(frozen=True)
class ExploreFlags(OwnFlags):
    """What is explored, and where the page is served."""

    target: tuple[str, ...] = option(
        ("digits",),
        "A bundled model, a folder in diffusers' layout or file of weights, or a hub id.",
        ("one model", lambda value: len(value) == 1),
        positional=True,
    )
    port: int = option(8765, "Port of the page; the next free one if it is in use.", PORT)
    no_browser: bool = option(False, "Only print the link, and open no browser.")
    cache: Path | None = option(
        None, "File of points whose labels are known; by default explorer.db in the user's cache folder."
    )
    output: Path = option(Path("explored"), "Folder of the recordings that the page makes.")
    export: Path | None = option(
        None, "Write a view as one page that works without a server, and end.", ending(".html")
    )
    view: str = option(
        "", "The view to export: a link, or the part of it from # on; by default the whole plane."
    )
    side: str = option("", "Side of the plane (L2), a decimal number; by default a third of a great circle.")


def run(settings: Settings, flags: ExploreFlags) -> None:
    if missing := next((name for name in LIBRARIES if importlib.util.find_spec(name) is None), None):
        raise UserError(
            f"{missing} is not installed, which the explorer needs: pip install 'denoscope[explorer]'"
        )
    (model,) = flags.target
    preflight.check_model("target", model)
    if settings.model.dtype not in ("auto", "float32", "float64"):
        raise UserError(f"--dtype is {settings.model.dtype}; allowed: auto, float32, float64")
    if flags.export is not None and flags.export.exists():
        raise UserError(f"--export is {flags.export}, which exists; name another file")
    from denoscope.explorer.models import Models
    from denoscope.explorer.scene import Scene
    from denoscope.explorer.server.running import serve
    from denoscope.explorer.session import Session

    default, config = settings.default, replace(settings.model, model=model)
    scene = Scene(
        model=model,
        scheduler=config.scheduler or "",
        steps=settings.inference.num_steps,
        base_seed=default.plane_base_seed,
        direction_seeds=default.direction_seeds,
        geometry=default.geometry,
        length=flags.side,
        dtype=settings.model.dtype,
        lanes=settings.inference.lanes,
        noise_seed=settings.system.seed,
        reject=settings.classifier.reject,
    )
    models = Models(model, device=settings.system.device, config=config)
    cache = flags.cache or _cache_file()
    session = Session(models, scene, settings.system.class_colors, cache, flags.output)
    if flags.export is not None:
        _export(session, flags.export, flags.view)
        return
    serve(session, port=flags.port, browser=not flags.no_browser)


def _export(session: Session, path: Path, view: str) -> None:
    """Write the page of a view."""
    from urllib.parse import urlencode

    from denoscope.explorer.view_address import scene_of
    from denoscope.foundation.writing.atomic_files import write_output

    address = view or f"#{urlencode(session.start.fields)}"
    with write_output(path) as file:
        for page in session.exported(scene_of(address), address):
            file.write(page or b"")
    session.close()
    print(path)


def _cache_file() -> Path:
    """The file of known points in the user's cache folder, which is created."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "denoscope"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be created ({error.strerror}); name a file with --cache") from error
    return folder / "explorer.db"


VERB = Verb(
    run,
    "Explore the plane of noises in the browser: pan, zoom, and watch a noise become an image.",
    {
        "system": "device threads seed",
        "model": "scheduler clip_sample dtype",
        "inference": "num_steps lanes",
        "classifier": "reject",
        "default": "plane_base_seed:base_seed direction_seeds geometry",
    },
    ExploreFlags,
    defaults={"geometry": "spherical", "lanes": MAP_LANES, "num_steps": 10},
)
