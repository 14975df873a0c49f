"""`denoscope explore` on the command line: what it refuses before anything is loaded, and the page that it writes."""

import dataclasses
import importlib.util
import json

import pytest
from command_line import check_refusal, refuse

from denoscope.cli.command import main
from denoscope.cli.flag_groups import MapLanesFlags
from denoscope.cli.verbs import explore
from denoscope.explorer import models
from denoscope.explorer.models import Models
from denoscope.explorer.saving import exported_view
from denoscope.explorer.saving.saved_file import Progress, SavedFile
from denoscope.explorer.server import running
from denoscope.explorer.session import Session


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_existing_page_is_not_replaced(tmp_path, capsys):
    (tmp_path / "here.html").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["explore", "digits", "--export", "here.html"])
    check_refusal(capsys.readouterr().err, "here.html exists", "--overwrite", "another --export")
    assert (tmp_path / "here.html").read_text() == "mine"


def test_a_missing_library_names_the_extra(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(SystemExit, match="2"):
        main(["explore"])
    assert "uvicorn" in (error := capsys.readouterr().err) and "denoscope[explorer]" in error


@pytest.mark.parametrize("layer", ["class", "growth"])
def test_a_view_is_written_as_one_page(tmp_path, monkeypatch, capsys, layer):
    monkeypatch.setattr(exported_view, "COLUMNS", 2)
    monkeypatch.setattr(exported_view, "ROWS", 1)
    (tmp_path / "view.html").write_text("mine")
    main(
        [
            "explore",
            "digits",
            "--export",
            "view.html",
            "--view",
            f"#model=digits&steps=1&level=0&layer={layer}",
            "--device",
            "cpu",
            "--overwrite",
        ]
    )
    assert capsys.readouterr().out.strip() == "view.html"
    page = (tmp_path / "view.html").read_text()
    assert page.count('"0/0/0"') == (2 if layer == "growth" else 1), "the growth is there only if it is shown"
    assert '"0/16/32"' in page and '"0/48/32"' in page and "Leaflet" in page


def test_the_page_opens_at_a_link_of_any_explorer(monkeypatch, capsys):
    served = []
    monkeypatch.setattr(running, "serve", lambda _, close, **options: served.append((close, options["view"])))
    for view in ("http://127.0.0.1:9999/#model=mnist&level=3", "#model=mnist&level=3", "model=mnist&level=3"):
        main(["explore", "digits", "--view", view])
        close, opened = served[-1]
        close()
        assert opened == "#model=mnist&level=3"
    refuse(capsys, "explore digits --view #model=somebody/elses", "'somebody/elses'", "digits")


def test_the_command_says_what_a_page_leaves_out(tmp_path, monkeypatch, capsys):
    made = SavedFile(
        b"page", "denoscope.html", "text/html", "sequences of 15 of 96 points, to stay below 10 MB"
    )
    monkeypatch.setattr(Session, "saved", lambda *_: iter([Progress(0, 1), made]))
    main(["explore", "digits", "--export", "view.html"])
    out, err = capsys.readouterr()
    assert out == "view.html\n" and "view.html holds sequences of 15 of 96 points, to stay below 10 MB" in err
    assert (tmp_path / "view.html").read_bytes() == b"page"


LINKED = {
    "--scheduler ddpm": {"scheduler": "ddpm"},
    "--clip_sample False": {"clip_sample": "0"},
    "--dtype float64": {"dtype": "float64"},
    "--num_steps 3": {"steps": "3"},
    "--lanes 8": {"lanes": "8"},
    "--seed 5": {"noise_seed": "5"},
    "--reject": {"reject": "1"},
    "--base_seed 4": {"base_seed": "4"},
    "--direction_seeds 4 5": {"direction_seeds": "4,5"},
    "--geometry flat": {"geometry": "flat"},
    "--side 4.5": {"length": "4.5"},
    "--labels 3": {"labels": "3"},
    "--labels 3 --guidance_scale 2.5": {"labels": "3", "guidance_scale": "2.5"},
}
"""Every flag that decides labels, and the field of a link that keeps it."""


def test_every_flag_that_decides_labels_stands_in_the_link(monkeypatch):
    sessions = []
    monkeypatch.setattr(running, "serve", lambda _, close, **__: sessions.append(close.__self__))
    for flag, fields in LINKED.items():
        model = "digits-conditional" if "--labels" in flag else "digits"
        main(["explore", model, *flag.split()])
        sessions[-1].close()
        assert sessions[-1].start.fields == {"model": model, **fields}
    own = [field.name for field in dataclasses.fields(MapLanesFlags)]
    used = [*own, *" ".join(explore.VERB.flags.values()).split()]
    named = {name.rpartition(":")[2] for name in used} - {"device", "threads", "overwrite"}
    assert named == {part[2:] for flag in LINKED for part in flag.split() if part.startswith("--")} - {"side"}


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("digits-conditional --no_browser", ("denoises under a class", "--labels 3")),
        ("digits-conditional --export page.html", ("denoises under a class", "--labels 3")),
        ("digits-conditional --labels 1 2", ("labels is (1, 2)", "one class")),
        ("digits-conditional --guidance_scale 2", ("guidance_scale is 2 without labels",)),
        ("digits --labels 3", ("labels is 3", "digits takes no classes")),
        ("digits --export page.html --view rubbish", ("--view is", "rubbish", "a link of the explorer")),
    ],
)
def test_a_class_that_does_not_fit_the_model_is_refused(flags, parts, tmp_path, capsys):
    refuse(capsys, f"explore {flags}", *parts)
    assert not list(tmp_path.glob("*.html"))


def test_a_model_under_another_condition_is_refused_with_what_shows_it(monkeypatch, capsys):
    monkeypatch.setattr(models, "required_inputs_of", lambda _: ["encoder_hidden_states"])
    refuse(capsys, "explore digits", "requires encoder_hidden_states", "basins map takes --condition")


def test_the_page_of_a_class_says_its_class(monkeypatch, tmp_path):
    monkeypatch.setattr(exported_view, "COLUMNS", 2)
    monkeypatch.setattr(exported_view, "ROWS", 1)
    view = "#model=digits-conditional&labels=3&guidance_scale=2&steps=1&level=0"
    main(["explore", "digits-conditional", "--export", "view.html", "--view", view, "--device", "cpu"])
    content = (tmp_path / "view.html").read_text()
    scene = {"model": "digits-conditional", "steps": "1", "labels": "3", "guidance_scale": "2"}
    assert f'"scene":{json.dumps(scene, separators=(",", ":"))}' in content and json.dumps(view) in content


def test_a_page_offers_the_bundled_models():
    assert Models("digits").names == ["digits", "digits-conditional", "mnist"]
