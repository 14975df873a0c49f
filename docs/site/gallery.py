"""The gallery: each picture of docs/images, what it shows, and the command that makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docs.site.links import ROOT

IMAGES = ROOT / "docs" / "images"
PICTURE = re.compile(r"!\[([^]]+)\]\((?:docs/)?images/([^)]+)\)")
MAP = "denoscope basins map --model digits --num_steps 20 --base_seed 7 --num_prompts_per_direction"
ZOOM = (
    "denoscope basins zoom --model digits --dtype float64 --geometry flat --len_per_direction 16 16 "
    "--num_prompts_per_direction 64 64 --num_steps 20 --base_seed 0"
)
COMMANDS = {
    "explorer.png": "python examples/explorer_picture.py",
    "overview.png": "make demo",
    "map_of_digits.gif": f"{MAP} 256 256 --animation map_of_digits.gif",
    "map_of_digits_1024.png": f"{MAP} 1024 1024 --output map_of_digits_1024.npz",
    "zoom_of_digits.gif": f"{ZOOM} --animation zoom_of_digits.gif",
    "zoom_of_digits.png": f"{ZOOM} --output zoom_of_digits.npz",
}
"""What makes the pictures that examples/figures.py does not draw."""
TITLES = {
    "basins.png": "Basins, and the dimension of their boundary",
    "closed_loop.png": "Repeated noising and denoising: four measures",
    "decided.png": "When an image is decided",
    "divergence.png": "Divergence of perturbed trajectories",
    "explorer.png": "The explorer in the browser",
    "exponents.png": "Exponents of the map from noise to image",
    "geometry.png": "Shapes and distances of trajectories",
    "map_of_digits.gif": "A map that becomes finer",
    "map_of_digits_1024.png": "A map of 1024 × 1024 noises",
    "orbits.png": "Orbits: their dimension, and whether they are chaotic",
    "overview.png": "Images, a sequence and a map",
    "ridges.png": "Where on a plane small changes grow most",
    "zoom_of_digits.gif": "A zoom into a boundary",
    "zoom_of_digits.png": "The dimension of a boundary at each length",
}
WIDTH = 90
"""Characters of a line of a command, as wide as the page."""


def page() -> str:
    """A section for each picture, in Markdown."""
    return "\n".join(line for path in sorted(IMAGES.iterdir()) for line in _section(path.name))


def _section(picture: str) -> Iterator[str]:
    title, page, shown = _page_of(picture)
    yield from (f"## {TITLES[picture]}", "", f"![{shown}](/images/{picture})", "", f"{shown}.", "")
    yield from ("```bash", *_lines(_command(picture)), "```", "", f"See [{title}](/{page}).", "")


def _command(picture: str) -> str:
    """The command that makes a picture."""
    from examples.figures import FIGURES

    name = Path(picture).stem
    return f"python examples/figures.py {name}" if name in FIGURES else COMMANDS[picture]


def _lines(command: str) -> list[str]:
    """A command on lines of at most WIDTH, broken before flags."""
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if len(f"{lines[-1]} {part} \\") > WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {part}"
    return [lines[0].lstrip(), *lines[1:]]


def _page_of(picture: str) -> tuple[str, str, str]:
    """The title and name of the page that shows a picture, and what it says of it; of several the one that says most."""
    found = []
    for path in [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]:
        text = path.read_text()
        title = text.partition("\n")[0].removeprefix("# ")
        name = "index.md" if path.parent == ROOT else path.name
        found += [(title, name, shown) for shown, file in PICTURE.findall(text) if file == picture]
    return max(found, key=lambda entry: len(entry[2]))
