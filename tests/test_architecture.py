"""Imports point down the order of packages without circles, and light modules import no heavy ones."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from docs import import_graph

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "denoscope"
ORDER = (
    "foundation", "cluster", "config", "noise", "hooks", "storage", "models", "interventions", "sampling", "recording",
    "dynamics", "basins", "figures", "explorer", "cli",
)  # fmt: skip
"""The packages of docs/architecture.md from the ground up: each may import those before it."""
FRONTS = {"", "__main__"}
MODULES = import_graph.modules()
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "config.py")


def libraries(module: str) -> Iterator[str]:
    """The names of the top-level modules of other distributions that a module imports."""
    for node in import_graph.import_statements(MODULES[module]):
        names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"denoscope"}


def requirements(lines: list[str]) -> set[str]:
    """The normalised names of the distributions that requirements name."""
    return {re.split(r"[^\w.-]", line)[0].replace("_", "-").lower() for line in lines}


def test_imports_and_declared_dependencies_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed, extras = requirements(project["dependencies"]), project["optional-dependencies"]
    optional_in = {
        "figures": requirements(extras["plots"] + extras["video"]),
        "explorer": requirements(extras["explorer"]),
        "storage": requirements(extras["cluster"]),
        "recording": requirements(extras["cluster"]),
        "basins": requirements(extras["cluster"]),
        "dynamics": requirements(extras["cluster"]),
        "cluster": requirements(extras["cluster"]),
        "cli": requirements(extras["cluster"]),
    }
    provided, used = packages_distributions(), set()
    for module in MODULES:
        for library in libraries(module):
            distributions = requirements(provided.get(library, [library]))
            optional = optional_in.get(top(module), set())
            assert distributions & (needed | optional), (
                f"{module} imports {library}; declare its distribution"
            )
            used |= distributions
    assert not needed - used, "declared, but not imported"


def top(module: str) -> str:
    return module.partition(".")[0]


def test_the_package_has_the_entries_of_the_order():
    entries = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert entries - {"__init__", "__main__"} == set(ORDER)
    assert len(ORDER) <= 15


def test_imports_point_down():
    for module in set(MODULES) - FRONTS:
        own = ORDER.index(top(module))
        upward = [other for other in import_graph.imports()[module] if ORDER.index(top(other)) > own]
        assert not upward, f"{module} imports {upward}, which the order of packages has above it"


def test_no_module_imports_itself_by_a_detour():
    graph = {module: import_graph.imports()[module] for module in MODULES if module not in FRONTS}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules of a circle


def test_imports_are_absolute():
    for path in MODULES.values():
        statements = import_graph.import_statements(path)
        assert not [node for node in statements if isinstance(node, ast.ImportFrom) and node.level], path


def json_reads(tree: ast.AST) -> Iterator[int]:
    """The lines that parse JSON, other than text that the same line has just written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("json", "msgspec.json"):
            yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        is_copy = name == "json.loads" and ast.unparse(node.args[0]).startswith("json.dumps(")
        if re.search(r"\bjson\.(loads?|JSONDecoder|decode|Decoder|decoder\..*)$", name) and not is_copy:
            yield node.lineno


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("json.load(file)", 1),
        ("json.loads(data)", 1),
        ("from json import loads", 1),
        ("json.JSONDecoder().raw_decode(text)", 1),
        ("msgspec.json.decode(data)", 1),
        ("json.loads(json.dumps(content, default=str))", 0),
        ("json.dumps(content)", 0),
    ],
)
def test_reading_of_json_is_recognized(code, count):
    assert len(list(json_reads(ast.parse(code)))) == count


def test_all_json_goes_through_the_one_reader():
    """It limits size and depth, which Python's own functions do not: they raise a RecursionError."""
    found = {
        path.relative_to(PACKAGE).as_posix(): list(json_reads(ast.parse(path.read_text())))
        for path in PACKAGE.rglob("*.py")
    }
    assert [name for name, lines in found.items() if lines] == ["foundation/reading/json_files.py"]


def test_the_picture_of_the_packages_is_that_of_the_code():
    assert import_graph.mermaid() in import_graph.PAGE.read_text(), "run python docs/import_graph.py"


def test_a_package_has_at_most_twenty_modules():
    for package in {path.parent for path in MODULES.values()}:
        assert len([path for path in package.glob("*.py") if path.name != "__init__.py"]) <= 20, package


def test_the_places_to_add_to_exist():
    """Each path of the table is a file or folder below the package or the root, and defines the name that is in it."""
    table = import_graph.PAGE.read_text().partition("## Where do I add")[2].partition("\n## ")[0]
    paths = re.findall(r"`([\w/]+/[\w.]*|\w+\.py)`", table)
    assert len(paths) > 10
    for path in paths:
        assert (PACKAGE / path).exists() or (ROOT / path).exists(), path
    for name, path in re.findall(r"`(\w+)` in `([\w/]+\.py)`", table):
        assert re.search(rf"^{name}\b.* = ", (PACKAGE / path).read_text(), flags=re.M), (name, path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_root_script_is_docstring_import_and_call(name):
    tree = ast.parse((ROOT / name).read_text())
    assert ast.get_docstring(tree)
    kinds = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.If)
    assert all(isinstance(node, kinds) for node in tree.body)
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For) for node in ast.walk(tree))
    assert len(tree.body) <= 6


def loaded(code: str) -> set[str]:
    """The top-level modules that are imported after `code` ran in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('loaded:', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.rpartition("loaded:")[2].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import denoscope",
        "from denoscope.cli import main; main(['--help'])",
        "from denoscope.cli import main\ntry: main(['record', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    assert not loaded(code) & {"torch", "diffusers", "matplotlib", "numpy", "zarr", "xarray"}


def test_the_status_of_a_recording_needs_neither_torch_nor_numpy(tiny, tmp_path):
    import denoscope as ds

    for out in ("run.zarr", "run"):
        ds.record(tiny, ds.noise.random(1, tiny.shape), tmp_path / out, steps=1)
        code = f"from denoscope.cli import main; main(['status', {str(tmp_path / out)!r}])"
        assert not loaded(code) & {"torch", "diffusers", "matplotlib", "numpy", "zarr", "xarray"}


def test_the_names_and_what_they_are_need_no_torch():
    import denoscope as ds

    assert sorted(re.findall(r"^    (\w+)  +\w", ds.__doc__, flags=re.M)) == dir(ds) == sorted(ds.__all__)
    assert not loaded("import denoscope as ds; ds.__doc__; dir(ds); ds.__version__") & {"torch", "numpy"}


def test_a_picture_of_a_tensor_needs_no_measures():
    assert not loaded("from denoscope.figures import images") & {"scipy", "xarray", "matplotlib", "diffusers"}


def test_every_public_name_is_there():
    import denoscope as ds

    for name in ds.__all__:
        assert getattr(ds, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        ds.nothing_such  # noqa: B018


@pytest.mark.parametrize(
    ("name", "submodules"), [("denoscope", "_PACKAGES"), ("denoscope.figures", "_SUBMODULES")]
)
def test_type_checkers_see_the_names_that_are_imported_when_they_are_used(name, submodules):
    package = importlib.import_module(name)
    tree = ast.parse(Path(package.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        item.asname: (node.module.removeprefix(name).lstrip("."), item.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for item in node.names
    }
    found = {each: (module, each) for each, module in package._MODULES.items()}
    assert seen == found | {each: ("", each) for each in getattr(package, submodules)}
    assert all(getattr(package, each) is not None for each in package.__all__)


def test_the_extraction_system_exports_loading_denoising_and_recording():
    import runpy

    exported = runpy.run_path(str(ROOT / "extraction_system.py"))
    assert {"load", "Denoiser", "denoise", "sample", "record", "Recording"} <= set(exported["__all__"])
    assert all(name in exported for name in exported["__all__"])
