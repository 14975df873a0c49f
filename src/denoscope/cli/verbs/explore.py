"""`denoscope explore`."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.flag_groups import MapLanesFlags
from denoscope.cli.output import check_apart, ending
from denoscope.cli.preflight import Kind, kind_of
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.explorer.scene import SIDE
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError, missing_library

if TYPE_CHECKING:
    from denoscope.explorer.server.safety import Gate
    from denoscope.explorer.session import Session

LOGGER = logging.getLogger(__name__)
LIBRARIES = ("starlette", "uvicorn")
LARGEST_CACHE = 2**30
"""Bytes above which the explorer empties its own file of known points; it never empties a file that the user names."""
VIEW = (
    "a link of the explorer, or the part of it from # on, such as '#model=digits&level=2&at=0,0'",
    lambda value: not value or any(f"{name}=" in value for name in ("model", "run", "map")),
)
PORT = ("an integer from 1024 to 65535", lambda value: 1024 <= value <= 65535)


@dataclass(frozen=True)
class ExploreFlags(MapLanesFlags):
    """What is explored, and where the page is served."""

    target: tuple[str, ...] = option(
        ("digits",),
        "A bundled model, a folder in diffusers' layout or file of weights, a hub id; a recording, or a map of basins (.npz).",
        ("one model, recording or map", lambda value: len(value) == 1),
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
        "",
        "The view to open or export: a link, or the part of it from # on; by default the plane around its middle.",
        VIEW,
    )
    side: str = option(
        "", "Side of the plane (L2), a decimal number; by default a third of a great circle.", SIDE
    )


def run(settings: Settings, flags: ExploreFlags) -> None:
    if missing := next((name for name in LIBRARIES if importlib.util.find_spec(name) is None), None):
        raise missing_library("the explorer", missing, "explorer")
    (target,) = flags.target
    kind = kind_of(target)
    overwrite = settings.inference.overwrite
    written = {"--cache": flags.cache, "--export": flags.export, "--output": flags.output}
    check_apart([(flag, path) for flag, path in written.items() if path is not None])
    if flags.export is not None:
        _reserve_export(flags.export, target, kind, overwrite=overwrite)
    elif overwrite:
        raise UserError("--overwrite replaces a page; name it with --export, or leave --overwrite out")
    RUNS[kind](target, settings, flags)


def _reserve_export(path: Path, target: str, kind: Kind, *, overwrite: bool) -> None:
    """Refuse a page that may not or cannot be written, and claim it until the command ends."""
    from denoscope.foundation.writing import claims

    if kind != "model":
        raise UserError(
            f"--export is {path}, and TARGET is the {kind} {target}; a page is exported from a model"
        )
    _check_free(path, overwrite=overwrite)
    claims.claim(path)
    _check_free(path, overwrite=overwrite)  # another process may have finished meanwhile


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; replace it (--overwrite) or name another --export")


def _explore_recording(target: str, settings: Settings, flags: ExploreFlags) -> None:
    """Serve the sheet of a recording."""
    from denoscope.explorer.server.sheet_application import sheet_application
    from denoscope.explorer.sheets.sheet_session import SheetSession
    from denoscope.figures.sheets.sheet import Sheet
    from denoscope.figures.sheets.sheet_labels import SheetLabels

    sheet = Sheet.open(Path(target))
    session = SheetSession(
        sheet, SheetLabels(sheet, settings.classifier.reject), settings.system.class_colors
    )
    _serve(partial(sheet_application, session), session.close, flags)


def _explore_map(target: str, settings: Settings, flags: ExploreFlags) -> None:
    """Serve a stored map of basins."""
    from denoscope.explorer.map_files.map_file import MapFile
    from denoscope.explorer.map_files.map_session import MapSession
    from denoscope.explorer.server.map_application import map_application
    from denoscope.explorer.tile_address import TileAddress

    session = MapSession(MapFile.open(Path(target)), settings.system.class_colors)

    def begun(port: int) -> Gate:
        session.tiles([TileAddress(0, 0, 0)], lambda _: None)  # fills all cells while the browser opens
        return map_application(session, port)

    _serve(begun, session.close, flags)


def _explore_model(target: str, settings: Settings, flags: ExploreFlags) -> None:
    """Serve the plane of noises of a model, or write a view of it."""
    if settings.model.dtype not in ("auto", "float32", "float64"):
        raise UserError(f"--dtype is {settings.model.dtype}; allowed: auto, float32, float64")
    from denoscope.explorer.models import Models
    from denoscope.explorer.scene import Scene
    from denoscope.explorer.server.application import application
    from denoscope.explorer.session import Session
    from denoscope.explorer.view_address import scene_of

    default = settings.default
    scene = Scene(
        model=target,
        scheduler=settings.model.scheduler or "",
        clip_sample=settings.model.clip_sample,
        steps=settings.inference.num_steps,
        base_seed=default.plane_base_seed,
        direction_seeds=default.direction_seeds,
        geometry=default.geometry,
        length=flags.side,
        dtype=settings.model.dtype,
        lanes=flags.lanes,
        noise_seed=settings.system.seed,
        reject=settings.classifier.reject,
        labels=settings.inference.labels,
        guidance_scale=settings.inference.guidance_scale,
    )
    models = Models(target, device=settings.system.device)
    shown = scene_of(flags.view) if flags.view else scene
    models.check(shown)
    cache = flags.cache or _cache_file()
    largest = None if flags.cache else LARGEST_CACHE
    session = Session(models, scene, settings.system.class_colors, cache, largest, flags.output)
    if flags.export is not None:
        _export(session, flags.export, _fragment(flags))
        return

    def begun(port: int) -> Gate:
        session.describe(shown, lambda _: None)  # loads the model while the browser opens
        return application(session, port)

    _serve(begun, session.close, flags)


def _serve(application: Callable[[int], Gate], close: Callable[[], None], flags: ExploreFlags) -> None:
    """Serve a page until Ctrl-C, with links to the view that the flags name."""
    from denoscope.explorer.server.running import serve

    serve(application, close, port=flags.port, browser=not flags.no_browser, view=_fragment(flags))


def _fragment(flags: ExploreFlags) -> str:
    """The part of a link from # on that names the view of the flags; empty for the first one."""
    return flags.view and f"#{flags.view.rpartition('#')[2]}"


def _export(session: Session, path: Path, view: str) -> None:
    """Write the page of a view."""
    from urllib.parse import urlencode

    from denoscope.explorer.saving.saved_file import SavedFile
    from denoscope.explorer.view_address import scene_of
    from denoscope.foundation.writing.atomic_files import write_output

    address, note = view or f"#{urlencode(session.start.fields)}", ""
    with write_output(path) as file:
        for made in session.saved(scene_of(address), address):
            if isinstance(made, SavedFile):
                file.write(made.content)
                note = made.note
    session.close()
    if note:
        LOGGER.warning("%s holds %s", path, note)
    print(path)


RUNS: dict[Kind, Callable[[str, Settings, ExploreFlags], None]] = {
    "model": _explore_model,
    "recording": _explore_recording,
    "map": _explore_map,
}


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
        "inference": "num_steps labels guidance_scale overwrite",
        "classifier": "reject",
        "default": "plane_base_seed:base_seed direction_seeds geometry",
    },
    ExploreFlags,
    defaults={"geometry": "spherical", "num_steps": 10},
)
