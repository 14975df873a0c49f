"""Films of denoising sequences, read back by other programs."""

from pathlib import Path

import numpy as np
import pytest
from command_line import call, check_refusal
from PIL import Image

import denoscope as ds
from denoscope.figures import animation_files


@pytest.fixture
def run(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ds.record(digits, ds.noise.random(3, digits.shape, seed=1), "run.zarr", steps=4)


def frames(path):
    with Image.open(path) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB")).astype(int)


def test_each_state_of_each_sample_is_in_its_frame(run):
    """Two columns of images of 8 × 8 pixels with gaps of one pixel, enlarged to at most 480 pixels."""
    ds.figures.save_sequences(run, "run.gif")
    shown = list(frames("run.gif"))
    assert len(shown) == 5
    factor = 480 // 19
    for k, frame in enumerate(shown):
        assert frame.shape == (19 * factor + 18, 19 * factor, 3)
        for sample in range(3):
            image = run.sequence[sample, k, 0].to_numpy().astype(float)
            grey = np.round((image / max(1.0, np.abs(image).max()) + 1) * 127.5)
            row, column = divmod(sample, 2)
            top, left = (1 + 9 * row) * factor, (1 + 9 * column) * factor
            tile = frame[top : top + 8 * factor, left : left + 8 * factor]
            np.testing.assert_array_equal(tile[factor // 2 :: factor, factor // 2 :: factor, 0], grey)
    with Image.open("run.gif") as film:
        assert film.info["loop"] == 0 and film.info["duration"] == 600


@pytest.fixture
def unfinished(digits, tmp_path, monkeypatch):
    """The second of three groups, each of one sample, is finished; the states of the others are NaN."""
    monkeypatch.chdir(tmp_path)
    ds.record(
        digits, ds.noise.random(3, digits.shape, seed=1), "cut.zarr", steps=4, lanes=1, layers="conv_in"
    )
    for group in (0, 2):
        Path(f"cut.zarr/complete/marks/{group}.json").unlink()
    return ds.open("cut.zarr")


def test_films_and_drawings_show_finished_samples_alone(unfinished, capsys):
    assert unfinished.finished.tolist() == [1]
    ds.figures.save_sequences(unfinished, "cut.gif")
    shown = list(frames("cut.gif"))
    assert len(shown) == 5 and shown[0].shape[1] == 10 * (480 // 10)
    figure = ds.figures.draw(unfinished)
    images, sequence, paths = (ax.get_title(loc="left") for ax in figure.axes)
    assert (images, sequence, paths) == (
        "x_0 of 1, 2 more unfinished",
        unfinished.samples[1],
        "conv_in (dots: last step)",
    )
    drawn = np.asarray(figure.axes[0].images[0].get_array())[1:-1, 1:-1, 0]
    image = unfinished.final[1, 0].to_numpy()
    np.testing.assert_array_equal(drawn, np.round((image.clip(-1, 1) + 1) * 127.5))
    for output in ("cut.png", "later.gif"):
        call(f"plot cut.zarr --output {output}")
        printed = capsys.readouterr().err
        assert "1 of 3 samples are finished; resume it (--resume)" in printed and "not drawn" not in printed


@pytest.mark.usefixtures("unfinished")
def test_nothing_is_drawn_of_a_recording_without_a_finished_sample(capsys):
    Path("cut.zarr/complete/marks/1.json").unlink()
    empty = ds.open("cut.zarr")
    for draw in (ds.figures.draw, lambda rec: ds.figures.save_sequences(rec, "cut.gif")):
        with pytest.raises(
            ds.UserError, match=r"cut\.zarr holds no finished sample; resume it \(resume=True\)"
        ):
            draw(empty)
    with pytest.raises(SystemExit):
        call("plot cut.zarr --output cut.png")
    check_refusal(capsys.readouterr().err, "holds no finished sample; resume it (--resume)")
    assert not Path("cut.png").exists() and not Path("cut.gif").exists()


def test_the_command_writes_films_of_recordings_and_zooms_alone(run, capsys):  # noqa: ARG001
    call("plot run.zarr --output run.gif")
    assert len(list(frames("run.gif"))) == 5
    call("dynamics distances run.zarr -q")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call("plot distances.json --output distances.gif")
    check_refusal(capsys.readouterr().err, "distances.gif", "no film of distances.json", "distances.png")


def test_mp4_has_as_many_seconds_as_the_frames_and_the_end_take(run):
    imageio = pytest.importorskip("imageio.v2")
    ds.figures.save_sequences(run, "run.mp4")
    with imageio.get_reader("run.mp4") as film:
        assert film.get_meta_data()["duration"] == pytest.approx(
            5 * 0.6 + animation_files.HOLD / 1000, abs=0.61
        )


def test_without_the_library_of_mp4_one_line_says_what_to_do(run, capsys, monkeypatch):  # noqa: ARG001
    find = animation_files.importlib.util.find_spec
    monkeypatch.setattr(
        animation_files.importlib.util,
        "find_spec",
        lambda name: None if name == "imageio_ffmpeg" else find(name),
    )
    with pytest.raises(SystemExit):
        call("plot run.zarr --output run.mp4")
    check_refusal(capsys.readouterr().err, "--output is 'run.mp4'", 'pip install "denoscope[video]"', ".gif")


def test_a_recording_without_sequences_has_no_film(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rec = ds.record(digits, ds.noise.random(1, digits.shape), steps=1, extract_states=False)
    with pytest.raises(ds.UserError, match="sequence"):
        ds.figures.save_sequences(rec, "run.gif")
    assert not (tmp_path / "run.gif").exists()
