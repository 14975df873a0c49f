"""Tensors as pictures: every pixel has the right place and colour, and every file its documented name."""

import numpy as np
import pytest
import torch
import xarray
from PIL import Image

from denoscope.figures import images
from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def flat(value, *shape):
    return torch.full(shape, float(value))


def staircase(steps, channels=1, size=4):
    """A sequence of uniform states, from a black x_T to a white x_0."""
    return torch.linspace(-1, 1, steps + 1).view(-1, 1, 1, 1).expand(-1, channels, size, size)


def test_the_range_maps_to_0_to_255_clipped_and_rounded():
    x = torch.tensor([-9.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]).view(1, 1, 7)
    assert images.to_uint8(x).tolist() == [[0, 0, 64, 128, 191, 255, 255]]
    shades = torch.arange(256.0).view(1, 16, 16) / 127.5 - 1
    for dtype in (torch.float32, torch.float64):
        assert images.to_uint8(shades.to(dtype)).reshape(-1).tolist() == list(range(256))


def test_channels_become_grey_or_rgb():
    assert images.to_uint8(torch.zeros(5, 1, 3, 4)).shape == (5, 3, 4)
    colour = torch.stack([flat(1, 2, 5), flat(-1, 2, 5), flat(0, 2, 5)])
    assert images.to_uint8(colour).shape == (2, 5, 3)
    assert images.to_uint8(colour)[1, 4].tolist() == [255, 0, 128]


@pytest.mark.parametrize(
    ("x", "line"),
    [
        (torch.zeros(2, 8, 8), r"\[2, 8, 8\]"),
        (torch.zeros(8, 8), r"\[8, 8\]"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.full((1, 2, 2), float("nan")), "NaN or Inf"),
        (torch.full((3, 2, 2), float("inf")), "NaN or Inf"),
    ],
)
def test_arrays_that_are_not_images_are_refused(x, line):
    with pytest.raises(UserError, match=line):
        images.to_uint8(x)


def test_a_png_holds_each_pixel_as_a_square(tmp_path):
    x = torch.tensor([[[-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]])
    images.save_png(x, tmp_path / "a.png", scale=5)
    expected = np.kron(np.array([[0, 128, 255], [255, 0, 128]]), np.ones((5, 5)))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)


def test_digits_are_enlarged_and_large_images_are_not(tmp_path):
    for side, expected in ((28, 224), (32, 224), (256, 256), (300, 300)):
        images.save_png(torch.zeros(1, side, side), tmp_path / "a.png")
        assert pixels(tmp_path / "a.png").shape == (expected, expected)
    with pytest.raises(UserError, match="scale is 0"):
        images.save_png(torch.zeros(1, 2, 2), tmp_path / "b.png", scale=0)


def test_evenly_spread_states_include_both_ends():
    assert images.evenly(51, 6) == [0, 10, 20, 30, 40, 50]
    assert images.evenly(3, 10) == [0, 1, 2]
    for states in range(1, 60):
        chosen = images.evenly(states, 7)
        assert chosen[0] == 0 and chosen[-1] == states - 1
        assert len(set(chosen)) == len(chosen) == min(7, states)
    with pytest.raises(UserError, match="count is 1"):
        images.evenly(10, 1)


def test_a_strip_goes_from_noise_to_image(tmp_path):
    images.save_strip(staircase(50), tmp_path / "strip.png", count=6, scale=2)
    strip = pixels(tmp_path / "strip.png")
    gap, side = images.GAP, 8
    labels = images.LABEL_PIXELS + gap
    assert strip.shape == (side + 2 * gap + labels, 6 * (side + gap) + gap)
    strip, below = strip[:-labels], strip[-labels:]
    assert images.strip_labels(images.evenly(51, 6)) == ["x_T", "10", "20", "30", "40", "x_0 (50)"]
    # Each frame has ink below it.
    assert all((below[:, k * (side + gap) + gap :][:, :side] < 128).any() for k in range(6))
    middles = strip[gap + 4, gap + 4 :: side + gap]
    assert middles.tolist() == [0, 51, 102, 153, 204, 255]
    assert (strip[0] == images.GAP_SHADE).all() and (strip[:, side + gap] == images.GAP_SHADE).all()


def test_a_strip_says_below_its_numbers_what_they_are_if_there_is_room(tmp_path):
    line = images.LABEL_PIXELS + images.GAP
    for scale, lines in ((4, 1), (8, 2)):
        images.save_strip(staircase(5), tmp_path / "strip.png", scale=scale)
        strip = pixels(tmp_path / "strip.png")
        between = (lines - 1) * images.BETWEEN
        assert strip.shape[0] == 4 * scale + 2 * images.GAP + lines * line + between
        assert (strip[-line:] < 128).any()
        if lines == 2:
            numbers, gap = strip[-2 * line - between : -line - between], strip[-line - between : -line]
            assert (numbers < 128).any() and (gap[: images.BETWEEN] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_shows_every_state_and_holds_the_last(tmp_path, channels):
    images.save_gif(staircase(8, channels), tmp_path / "a.gif", scale=2, milliseconds=50, hold=1000)
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == 9 and movie.size == (8, 8) and movie.info["loop"] == 0
        shades, durations = [], []
        for k in range(9):
            movie.seek(k)
            shades.append(movie.convert("RGB").getpixel((3, 3)))
            durations.append(movie.info["duration"])
    assert shades == [(round(k * 255 / 8),) * 3 for k in range(9)]
    assert durations == [50] * 8 + [1000]


def test_a_contact_sheet_is_filled_row_by_row(tmp_path):
    stack = staircase(4)
    images.contact_sheet(stack, tmp_path / "sheet.png", columns=3, scale=1)
    sheet = pixels(tmp_path / "sheet.png")
    pitch = 4 + images.GAP
    middles = sheet[images.GAP + 1 :: pitch, images.GAP + 1 :: pitch]
    assert middles.tolist() == [[0, 64, 128], [191, 255, images.GAP_SHADE]]
    images.contact_sheet(torch.zeros(10, 3, 4, 4), tmp_path / "square.png", scale=1)
    assert pixels(tmp_path / "square.png").shape == (3 * pitch + images.GAP, 4 * pitch + images.GAP, 3)
    with pytest.raises(UserError, match="no images"):
        images.contact_sheet(torch.zeros(0, 1, 4, 4), tmp_path / "none.png")
    with pytest.raises(UserError, match="columns is 0"):
        images.contact_sheet(stack, tmp_path / "none.png", columns=0)
    assert not (tmp_path / "none.png").exists()


def sequence_file(folder, steps=50):
    path = folder / "sequences" / "sample_0000_sequence.pt"
    tensor_files.save(staircase(steps), path)
    return path


@pytest.mark.parametrize(
    ("step", "name", "state"),
    [
        (-1, "sample_0000_sequence_step_0049.png", 50),
        (49, "sample_0000_sequence_step_0049.png", 50),
        (0, "sample_0000_sequence_step_0000.png", 1),
        (24, "sample_0000_sequence_step_0024.png", 25),
        ("noise", "sample_0000_sequence_noise.png", 0),
    ],
)
def test_a_step_shows_the_state_after_it(tmp_path, step, name, state):
    written = images.render(sequence_file(tmp_path), step=step, output_base_dir=tmp_path / "images")
    assert written == [tmp_path / "images" / "sequences" / name]
    assert (pixels(written[0]) == round(state / 50 * 255)).all()


@pytest.mark.parametrize("step", [50, 51, -2, "last"])
def test_an_invalid_step_is_refused_with_the_allowed_range(tmp_path, step):
    with pytest.raises(UserError, match=r"0 to 49, -1 for the last, noise for x_T"):
        images.render(sequence_file(tmp_path), step=step, output_base_dir=tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_all_steps_give_a_strip_and_an_animation(tmp_path):
    written = images.render(sequence_file(tmp_path, 12), all_steps=True, output_base_dir=tmp_path / "images")
    assert [path.name for path in written] == ["sample_0000_sequence_strip.png", "sample_0000_sequence.gif"]
    with Image.open(written[1]) as movie:
        assert movie.n_frames == 13


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 1, 28, 28), (3, 32, 32), (1, 3, 32, 32)])
def test_a_final_tensor_gives_its_one_image(tmp_path, shape):
    tensor_files.save(flat(1, *shape), tmp_path / "sample_0003.pt")
    written = images.render(tmp_path / "sample_0003.pt", output_base_dir=tmp_path / "images")
    assert written == [tmp_path / "images" / "final_tensors" / "sample_0003.png"]
    assert (pixels(written[0]) == 255).all()
    for asked in ({"step": 3}, {"step": "noise"}, {"all_steps": True}):
        with pytest.raises(UserError, match=r"sample_0003\.pt holds one image"):
            images.render(tmp_path / "sample_0003.pt", output_base_dir=tmp_path / "images", **asked)


@pytest.mark.parametrize(
    ("x", "line"),
    [
        (torch.zeros(50, 32, 28, 28), "shape"),
        (torch.zeros(50, 784), "shape"),
        (torch.zeros(0, 1, 28, 28), "shape"),
        (torch.zeros(51, 1, 28, 28, dtype=torch.int64), "int64"),
        (torch.full((51, 1, 28, 28), float("nan")), "NaN"),
    ],
)
def test_a_file_without_images_is_refused_by_name(tmp_path, x, line):
    tensor_files.save(x, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=rf"odd\.pt.*{line}") as caught:
        images.render(tmp_path / "odd.pt", output_base_dir=tmp_path / "images")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.png"))


def test_images_may_be_numpy_and_xarray():
    x = torch.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for other in (x.numpy(), xarray.DataArray(x.numpy(), dims=("sample", "channel", "height", "width"))):
        np.testing.assert_array_equal(images.to_uint8(other), images.to_uint8(x))
