"""What an installed package holds besides its modules."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"


def test_an_installed_package_holds_every_file_of_its_folders():
    """The pages with their libraries and licences, and the bundled models, in less than 15 MB."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        file
        for package, patterns in tools["package-data"].items()
        for pattern in patterns
        for file in (SOURCE / package.replace(".", "/")).glob(pattern)
        if file.is_file()
    }
    there = {
        file
        for file in (SOURCE / "denoscope").rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert there == listed
    assert {"LICENSE", "leaflet.js", "diffusion_pytorch_model.safetensors"} <= {file.name for file in listed}
    assert sum(file.stat().st_size for file in there) < 15e6
