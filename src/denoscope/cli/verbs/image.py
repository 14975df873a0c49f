"""`denoscope image`."""

from __future__ import annotations

import os
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError


@dataclass(frozen=True)
class ImageFlags(OwnFlags):
    """Which tensors are drawn."""

    tensor_path: Path | None = option(None, "One tensor file: a sequence or a final tensor.")
    folder_path: Path | None = option(None, "A folder of such files.")
    step: str = option(
        "-1",
        "The state after step K, counted from 0: K + 1 of num_steps steps are done. −1 is the last, x_0; noise is x_T.",
    )
    all_steps: bool = option(False, "A strip and an animated GIF of the whole sequence.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.tensor_path is None) == (self.folder_path is None):
            raise UserError("name either --tensor-path FILE or --folder-path FOLDER")
        if self.folder_path is not None and not os.path.isdir(self.folder_path):
            raise UserError(
                f"{self.spelled('folder_path')} is {self.folder_path}; allowed: an existing folder"
            )
        parse_step(self.step)


def run(settings: Settings, flags: ImageFlags) -> None:
    from denoscope.figures import images
    from denoscope.foundation.reading.tensor_folders import tensors_in
    from denoscope.foundation.writing.staged_files import check_finished, staged_files

    step = parse_step(flags.step)
    paths = tensors_in(flags.folder_path) if flags.folder_path else [typing.cast(Path, flags.tensor_path)]
    folder = settings.pictures
    if flags.folder_path:
        check_finished(flags.folder_path, besides=folder / f"{flags.folder_path.stem}.png")
    if not paths:
        raise UserError(f"{flags.spelled('folder_path')} is {flags.folder_path}, which holds no .pt tensors")
    source = flags.folder_path or paths[0]
    overwrite = settings.inference.overwrite
    written = []
    with staged_files(folder / f"{source.stem}.png", overwrite=overwrite) as staged:
        for path in paths:
            pictures = images.render(path, step=step, output_base_dir=staged, all_steps=flags.all_steps)
            written += [folder / picture.relative_to(staged) for picture in pictures]
    print("\n".join(map(str, written)))


def parse_step(text: str) -> int | Literal["noise"]:
    """The number of a step, or "noise"."""
    if text == "noise":
        return "noise"
    try:
        return int(text)
    except ValueError:
        raise UserError(
            f"--step is {text!r}; allowed: 0 to num_steps − 1, -1 for the last, noise for x_T"
        ) from None


VERB = Verb(
    run,
    "Turn recorded tensors into PNG pictures.",
    {"default": "image_output_dir:output_base_dir", "inference": "overwrite"},
    ImageFlags,
    script_overwrites=True,
)
