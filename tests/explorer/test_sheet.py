"""A recording as a sheet: its samples, their labels and states, and two of them side by side."""

import base64
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray
from starlette.testclient import TestClient

import denoscope as ds
from denoscope.config import SystemConfig
from denoscope.explorer.server.sheet_application import sheet_application
from denoscope.explorer.sheets.sheet_session import SheetSession
from denoscope.figures.sheets.sheet import Sheet
from denoscope.figures.sheets.sheet_labels import SheetLabels
from denoscope.foundation.errors import UserError

BASE = "http://127.0.0.1:8765"
LAYERS = ["conv_in", "mid_block"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, digits):
    """A recording of a base and three perturbations of it by `digits`, with estimates and two layers, of which two steps are kept."""
    path = tmp_path_factory.mktemp("sheet") / "pairs.zarr"
    noises = ds.noise.perturbed(3, digits.shape, epsilon=0.5, base_seed=3)
    return ds.record(
        digits, noises, path, steps=4, layers=LAYERS, extract_estimates=True, every=(0, 3), lanes=2
    )


@pytest.fixture(scope="module")
def colors(tmp_path_factory, make_small_unet, make_scheduler):
    """A recording of images of three channels, which no bundled classifier takes; two of five samples are finished."""
    denoiser = ds.load(make_small_unet(3), scheduler=make_scheduler("ddim"), device="cpu")
    path = tmp_path_factory.mktemp("sheet") / "colors"
    noises = ds.noise.random(5, denoiser.shape, seed=1)
    ds.record(denoiser, noises, path, steps=2, layers=["conv_in"], lanes=2, batch_size=2)
    for group in (1, 2):  # as a run leaves them that ended after its first group
        (mark,) = path.rglob(f"{group}.json")
        mark.unlink()
    return ds.open(path)


def session_of(recording) -> SheetSession:
    sheet = Sheet.open(recording.path)
    return SheetSession(sheet, SheetLabels(sheet), SystemConfig.class_colors)


@pytest.fixture
def client_of():
    """A function from a recording to a browser that has opened its sheet."""
    with_clients = []

    def opened(recording):
        session = session_of(recording)
        gate = sheet_application(session, 8765)
        client = TestClient(gate, base_url=BASE)
        client.__enter__()
        with_clients.append((client, session))
        assert str(client.get(gate.link).url) == f"{BASE}/sheet"
        return client

    yield opened
    for client, session in with_clients:
        client.__exit__(None, None, None)
        session.close()


def pixels(answer, index):
    """One image of an answer, or all maps of one step."""
    parts = 3 if answer.get("rgb") else 1
    data = np.frombuffer(base64.b64decode(answer["data"]), np.uint8)
    size = answer["height"] * answer["width"] * parts * answer.get("channels", 1)
    return data[index * size : (index + 1) * size].astype(float)


def test_a_sheet_is_described_and_its_images_are_those_of_the_recording(client_of, pairs):
    client = client_of(pairs)
    facts = client.get("/api/sheet").json()
    assert (
        facts["run"] == "pairs.zarr" and facts["count"] == 4 and facts["rows"] is None and not facts["note"]
    )
    assert facts["shape"] == [1, 8, 8] and facts["layers"] == LAYERS and facts["steps"] == 4
    answer = client.get("/api/images?rows=2,0").json()
    assert answer["rows"] == [2, 0] and answer["names"]["2"] == pairs.samples[2] and not answer["errors"]
    final = pairs.final.to_numpy()
    for k, row in enumerate((2, 0)):
        largest = max(1.0, np.abs(final[row]).max())
        np.testing.assert_allclose(
            pixels(answer["images"], k), (final[row].ravel() / largest + 1) * 127.5, atol=0.51
        )


def test_labels_are_those_of_the_bundled_classifier(client_of, pairs):
    answer = client_of(pairs).get("/api/labels").json()
    assert answer == {"labels": ds.classify(pairs.final).label.tolist(), "source": "digits-cnn"}


@pytest.mark.parametrize(("side", "together"), [(8, 128), (256, 64), (5000, 1)])
def test_images_are_read_as_many_at_once_as_fit_into_16_mib(side, together):
    final = xarray.DataArray(np.broadcast_to(np.float32(0), (200, 1, side, side)))
    assert Sheet(SimpleNamespace(final=final), "run.zarr").together == together


def test_a_sample_shows_what_was_recorded_of_it(client_of, pairs):
    name = pairs.samples[1]
    answer = client_of(pairs).get("/api/sample", params={"sample": name, "layers": "mid_block"}).json()
    assert answer["sample"] == name and answer["row"] == 1 and float(answer["facts"]["epsilon"]) == 0.5
    expected = ds.classify(pairs.final[[1]])
    assert answer["label"] == expected.label[0] and answer["confidence"] == pytest.approx(
        expected.confidence[0]
    )
    sequence = pairs.sequence[1].to_numpy()
    assert answer["states"]["count"] == len(sequence) == 5
    largest = np.abs(sequence[0]).max()
    assert answer["states"]["ranges"][0] == pytest.approx(largest, rel=1e-3)
    np.testing.assert_allclose(
        pixels(answer["states"], 0), (sequence[0].ravel() / largest + 1) * 127.5, atol=0.51
    )
    maps, states = answer["layers"]["mid_block"], pairs["mid_block"][1].to_numpy()
    assert maps["steps"] == [0, 3] and maps["of"] == states.shape[1]
    np.testing.assert_allclose(maps["norms"], np.linalg.norm(states.reshape(2, -1), axis=1), rtol=1e-3)
    shown = states[1, :16].ravel()
    span = maps["high"] - maps["low"]
    np.testing.assert_allclose(pixels(maps, 1) / 255 * span + maps["low"], shown, atol=span / 200)
    assert answer["estimates"]["steps"] == [0, 3, 4] and answer["estimates"]["count"] == 3
    assert [len(values) for values in answer["probabilities"]] == [10, 0, 0, 10, 10]


def test_the_distances_of_two_samples_are_those_of_divergence(client_of, pairs):
    base, other = pairs.samples[0], pairs.samples[3]
    query = {"a": base, "b": other, "layers": ",".join(LAYERS)}
    answer = client_of(pairs).get("/api/samples", params=query).json()
    expected = ds.dynamics.divergence(pairs).sel(sample=other)
    assert str(expected["base"].values) == base
    assert answer["separation"] == expected["separation"].values.tolist()
    for name in ("x_0_estimate", *LAYERS):
        values = expected[f"{name} separation"].values
        assert answer["layers"][name] == [None if np.isnan(value) else value for value in values]
    assert sum(value is not None for value in answer["layers"]["mid_block"]) == 2
    assert answer["ends"] == ds.classify(pairs.final[[0, 3]]).label.tolist()
    assert [classes[-1] for classes in answer["classes"]] == answer["ends"]


def test_stored_labels_come_first(client_of, pairs, tmp_path):
    copy = shutil.copytree(pairs.path, tmp_path / "copy.zarr")
    content = {name: {"label": 7 - row, "confidence": None} for row, name in enumerate(pairs.samples[:3])}
    (copy / "predictions.json").write_text(json.dumps(content))
    client = client_of(ds.open(copy))
    assert client.get("/api/labels").json() == {"labels": [7, 6, 5, None], "source": "predictions.json"}
    assert client.get("/api/sample", params={"sample": pairs.samples[1]}).json()["label"] == 6


def test_damaged_labels_are_an_error_in_one_line(client_of, pairs, tmp_path):
    copy = shutil.copytree(pairs.path, tmp_path / "copy.zarr")
    (copy / "predictions.json").write_text('{"sample_0000": {"label": "seven"}}')
    response = client_of(ds.open(copy)).get("/api/labels")
    assert response.status_code == 400 and "predictions.json" in response.json()["error"]


def test_what_is_finished_is_shown_in_colour_without_labels(client_of, colors):
    client = client_of(colors)
    facts = client.get("/api/sheet").json()
    assert (
        facts["rows"] == [0, 1]
        and facts["count"] == 5
        and "2 of 5" in facts["note"]
        and "resume" in facts["note"]
    )
    assert client.get("/api/labels").json() == {"labels": [None] * 5, "source": None}
    image = client.get("/api/images?rows=1").json()["images"]
    final = colors.final[1].to_numpy()
    assert image["rgb"] and (image["height"], image["width"]) == (8, 8)
    expected = (final / max(1.0, np.abs(final).max()) + 1) * 127.5
    np.testing.assert_allclose(pixels(image, 0).reshape(8, 8, 3), expected.transpose(1, 2, 0), atol=0.51)
    sample = client.get("/api/sample", params={"sample": colors.samples[0]}).json()
    assert sample["label"] is None and sample["estimates"] is None and sample["states"]["rgb"]
    for query in ("images?rows=3", f"sample?sample={colors.samples[3]}"):
        response = client.get(f"/api/{query}")
        assert response.status_code == 400 and "finished" in response.json()["error"]


def test_a_run_that_goes_on_is_read_again(colors, tmp_path):
    copy = shutil.copytree(colors.path, tmp_path / "colors")
    sheet = Sheet.open(copy)
    assert sheet.rows == [0, 1]
    marks = next(copy.rglob("0.json")).parent
    assert sheet.description()["rows"] == [0, 1]
    (marks / "0.json").unlink()
    assert sheet.description()["rows"] == []


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 40, 3), (4, 4), (7,), (2, 3, 4, 5)])
def test_latents_and_other_shapes_stand_side_by_side(shape):
    from denoscope.figures.shades import images_of

    image = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    answer = images_of([image], 1)
    planes = image.reshape(-1, *((1,) * (3 - len(shape)) + shape)[-2:])
    shown = pixels(answer, 0).reshape(answer["height"], answer["width"])
    height, width = planes.shape[1:]
    columns = answer["width"] // width
    for k, plane in enumerate(planes):
        top, left = k // columns * height, k % columns * width
        np.testing.assert_allclose(
            shown[top : top + height, left : left + width], (plane + 1) * 127.5, atol=0.51
        )


def test_large_images_are_shown_as_means_within_the_bound():
    from denoscope.figures.shades import images_of

    image = np.zeros((1, 50, 70))
    image[:, 3:6, 6:9] = 0.9
    answer = images_of([image] * 4, 4, most=4 * 17 * 24)
    assert answer["scale"] == 3 and (answer["height"], answer["width"]) == (17, 24)
    shown = pixels(answer, 2).reshape(17, 24)
    assert (
        shown[1, 2] == pytest.approx((0.9 + 1) * 127.5, abs=0.51)
        and shown[0, 0] == 128
        and shown[16, 23] == 128
    )


def test_damaged_samples_are_named_and_the_others_are_shown(client_of, pairs, tmp_path):
    copy = shutil.copytree(pairs.path, tmp_path / "copy.zarr")
    image = pairs.final[2].to_numpy().tobytes()
    (file,) = [
        path for path in (copy / "sequence").rglob("*") if path.is_file() and image in path.read_bytes()
    ]
    file.write_bytes(file.read_bytes()[:40])
    client = client_of(ds.open(copy))
    answer = client.get("/api/images?rows=0,1,2,3").json()
    assert answer["rows"] == [0, 1] and answer["images"]["count"] == 2
    assert list(answer["errors"]) == ["2", "3"] and f"{copy} cannot be read" in answer["errors"]["2"]
    labels = ds.classify(pairs.final[:2]).label.tolist()
    assert client.get("/api/labels").json()["labels"] == [*labels, None, None]
    response = client.get("/api/sample", params={"sample": pairs.samples[2]})
    assert response.status_code == 400 and f"{copy} cannot be read" in response.json()["error"]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("images", "rows"),
        ("images?rows=", "rows"),
        ("images?rows=1,,2", "rows"),
        ("images?rows=-1", "rows"),
        ("images?rows=999999999", "999999999"),
        (f"images?rows={','.join(map(str, range(129)))}", "128"),
        ("sample", "no sample"),
        ("sample?sample=../../etc/passwd", "no sample"),
        ("sample?sample=NAME&layers=conv_inn", "conv_inn"),
        (f"sample?sample=NAME&layers={'conv_in,' * 9}", "8"),
        ("samples?a=NAME&b=NAME", "another one"),
        ("samples?a=NAME", "no sample"),
    ],
)
def test_wrong_requests_are_refused_in_words(client_of, pairs, query, part):
    response = client_of(pairs).get(f"/api/{query.replace('NAME', pairs.samples[0])}")
    assert response.status_code == 400 and part in response.json()["error"]


def test_a_recording_without_sequences_shows_its_final_images(client_of, tmp_path, digits):
    noises = ds.noise.random(2, digits.shape, seed=1)
    recording = ds.record(digits, noises, tmp_path / "final.zarr", steps=1, extract_states=False)
    client = client_of(recording)
    a, b = recording.samples
    assert client.get("/api/sample", params={"sample": a}).json()["states"]["count"] == 1
    apart = client.get("/api/samples", params={"a": a, "b": b}).json()
    final = torch.from_numpy(recording.final.to_numpy()).double()
    assert (
        apart["separation"] == pytest.approx([(final[0] - final[1]).norm().item()])
        and apart["classes"] is None
    )


def test_a_recording_without_a_finished_sample_is_refused(colors, tmp_path):
    copy = shutil.copytree(colors.path, tmp_path / "colors")
    for mark in list(copy.rglob("0.json")):
        mark.unlink()
    with pytest.raises(UserError, match=r"no finished sample.*resume"):
        Sheet.open(copy)


def test_the_sheet_needs_the_token(pairs):
    session = session_of(pairs)
    with TestClient(sheet_application(session, 8765), base_url=BASE) as client:
        assert all(
            client.get(f"/api/{path}").status_code == 401 for path in ("sheet", "images?rows=0", "labels")
        )
        assert client.get("/sheet").status_code == 200
    session.close()
