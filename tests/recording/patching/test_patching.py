"""Activation patching against runs from x_T with plain hooks, its file, and what is refused."""

import re
import signal

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.cli import command
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.threads import threads_set_to
from denoscope.hooks.taps import tapped
from denoscope.recording.patching import patch_map
from denoscope.recording.patching.patch_work import PatchWork
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop

STEPS, COUNT = 3, 3
LAYERS = ["conv_in", "mid_block"]
# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def small(make_small_unet, make_scheduler):
    """A small denoiser with DDIM."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture(scope="module")
def pair(small, tmp_path_factory):
    return both(small, tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def found(small, pair):
    """The whole map of the pair."""
    return ds.patch(small, *pair)


def both(denoiser, folder, **options):
    return [
        ds.record(
            denoiser, ds.noise.random(COUNT, denoiser.shape, seed=seed), folder / f"{seed}.zarr",
            **{"steps": STEPS, "layers": LAYERS} | options,
        )
        for seed in (1, 2)
    ]  # fmt: skip


def by_hand(denoiser, a, b, layer, step):
    """How far x_0 moves, from a plain loop from x_T with a plain hook."""
    states = torch.from_numpy(b.states[layer].to_numpy()[:, step])
    states = torch.cat([states, states[-1:].expand(8 - COUNT, *states.shape[1:])])
    calls = iter(range(STEPS))
    handle = denoiser.network.get_submodule(layer).register_forward_hook(
        # The memory layout of the layer's own output: the last bits of later results may depend on it.
        lambda _m, _a, output: torch.empty_like(output).copy_(states) if next(calls) == step else output
    )
    x_0 = ds.sample(denoiser, torch.from_numpy(a.sequence.to_numpy()[:, 0]), steps=STEPS).double().numpy()
    handle.remove()
    norm = lambda image: np.linalg.norm(image.reshape(COUNT, -1), axis=1)  # noqa: E731
    final_a, final_b = (rec.final.to_numpy().astype(float) for rec in (a, b))
    return 1 - norm(x_0 - final_b) / norm(final_a - final_b)


def test_every_cell_is_a_run_from_x_T_with_that_layer_replaced_bit_for_bit(small, pair, found):
    assert found["moved"].dims == ("layer", "step", "sample") and found["moved"].shape == (2, STEPS, COUNT)
    for layer in LAYERS:
        for step in range(STEPS):
            assert np.array_equal(
                found["moved"].sel(layer=layer, step=step), by_hand(small, *pair, layer, step)
            )
    assert "label" not in found


def test_the_last_layer_in_the_last_step_brings_its_part_and_itself_brings_nothing(small, pair):
    a, _ = pair
    nothing = ds.patch(small, a, a)
    assert nothing["moved"].isnull().all(), "A and B are the same image"
    assert (ds.patch(small, *pair, layers=["conv_in"], steps=[0])["moved"] != 0).all()


SCHEDULERS = [
    "DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
]  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("noise", ["common", "independent"])
def test_a_run_from_a_recorded_state_is_the_rest_of_the_run_from_x_T_bit_for_bit(
    make_small_unet, name, noise
):
    denoiser = ds.load(make_small_unet(), scheduler=name, device="cpu")
    x = ds.noise.random(COUNT, denoiser.shape, seed=1)
    steps = list(ds.denoise(denoiser, x.batch(range(COUNT)), steps=STEPS, noise=noise, names=x.names))
    loop = Loop(steps=STEPS, noise=noise)
    for begin in range(STEPS):
        with torch.no_grad(), tapped(denoiser.network, denoiser.call) as network:
            rest = list(steps_of(denoiser, network, steps[begin].x_before, loop, x.names, begin=begin))
        assert [step.index for step in rest] == list(range(begin, STEPS))
        assert torch.equal(rest[-1].x_after, steps[-1].x_after)


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "HeunDiscreteScheduler"])
def test_a_scheduler_with_a_history_is_run_from_x_T(make_small_unet, tmp_path, scheduler):
    denoiser = ds.load(make_small_unet(), scheduler=scheduler, device="cpu")
    a, b = both(denoiser, tmp_path)
    found = ds.patch(denoiser, a, b, layers=["mid_block"], steps=[1])["moved"].to_numpy()[0, 0]
    x_T = torch.from_numpy(a.sequence.to_numpy()[:, 0]) / float(
        denoiser.new_scheduler(STEPS).init_noise_sigma
    )
    names = [str(name) for name in a.dataset["sample"].to_numpy()]
    swap = ds.Intervention("mid_block", "swap", b.path, steps=1)
    x_0 = ds.sample(denoiser, x_T, steps=STEPS, names=names, interventions=[swap]).numpy()
    gaps = [
        np.linalg.norm((one.astype(float) - b.final.to_numpy()).reshape(COUNT, -1), axis=1)
        for one in (x_0, a.final.to_numpy())
    ]
    np.testing.assert_allclose(found, 1 - gaps[0] / gaps[1], rtol=1e-5)


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_batches_change_no_bit(make_small_unet, make_scheduler, tmp_path, noise):
    denoiser = ds.load(make_small_unet(), scheduler=make_scheduler("ddpm"), device="cpu")
    pair = both(denoiser, tmp_path, noise=noise, lanes=4)
    maps = [ds.patch(denoiser, *pair, batch_size=size)["moved"].to_numpy() for size in (1, 16)]
    assert maps[0].tobytes() == maps[1].tobytes()


def test_an_intervention_of_the_first_run_is_repeated(small, tmp_path):
    written = [ds.Intervention("mid_block", "scale", 0.0, samples="sample_0001")]
    a, b = both(small, tmp_path, interventions=written)
    found = ds.patch(small, a, b, layers=["mid_block"], steps=[0])["moved"].to_numpy()[0, 0]
    assert found[1] == 0 and (found[[0, 2]] != 0).all(), "A and B are both zero there"


def test_samples_of_other_names_are_taken_by_their_place(small, tmp_path):
    x = ds.noise.random(COUNT, small.shape, seed=1)
    near = ds.noise.perturbed(COUNT - 1, small.shape, epsilon=1.0)
    options = dict(steps=1, layers=["conv_out"])
    a = ds.record(small, x, tmp_path / "a.zarr", **options)
    b = ds.record(small, near, tmp_path / "b.zarr", **options)
    found = ds.patch(small, a, b)
    assert found["source"].to_numpy().tolist() == b.dataset["sample"].to_numpy().tolist()
    renamed = ds.noise.ArrayNoise(near.batch(range(COUNT)), x.names)
    of_one_name = ds.patch(small, a, ds.record(small, renamed, tmp_path / "c.zarr", **options))
    assert np.array_equal(found["moved"], of_one_name["moved"]) and (found["moved"] != 0).all()


def test_finished_work_is_not_computed_again(small, pair, found, tmp_path, monkeypatch):
    out, truth = tmp_path / "map.npz", found
    calls = []
    monkeypatch.setattr(
        PatchWork, "_run", lambda work, step, cells, run=PatchWork._run: calls.append(cells) or run(work, step, cells)
    )  # fmt: skip
    reports = []

    def stop(finished, total):
        reports.append((finished, total))
        if len(reports) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.patch(small, *pair, checkpoint=Checkpoint(out, progress=stop))
    assert reports == [(6, 18), (12, 18)]
    half = checkpoint.read(out)
    assert half["done"].to_numpy().all(axis=(0, 2)).tolist() == [True, True, False]
    with pytest.raises(UserError, match="exists"):
        ds.patch(small, *pair, checkpoint=out)
    calls.clear()
    resumed = ds.patch(small, *pair, checkpoint=Checkpoint(out, resume=True))
    assert len(calls) == 1, "one step was left"
    for patched in (resumed, checkpoint.read(out)):
        assert patched["moved"].identical(truth["moved"])
    with pytest.raises(UserError, match="differs in layers: "):
        ds.patch(small, *pair, layers=["conv_in"], checkpoint=Checkpoint(out, resume=True))
    assert (
        ds.patch(small, *pair, layers=["conv_in"], checkpoint=Checkpoint(out, overwrite=True)).sizes["layer"]
        == 1
    )


def test_a_model_of_digits_tells_which_they_become(digits, tmp_path, capsys):
    for seed in (1, 2):
        x = ds.noise.random(2, digits.shape, seed=seed)
        ds.record(digits, x, tmp_path / f"{seed}.zarr", steps=2, layers=["conv_out"])
    out = tmp_path / "map.npz"
    command.main(["patch", *(str(tmp_path / f"{seed}.zarr") for seed in (1, 2)), "--output", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"moved +step 0 +step 1", printed[0]) and printed[1].startswith("conv_out")
    found = checkpoint.read(out)
    for name, seed in (("label_a", 1), ("label_b", 2)):
        assert (
            found[name].to_numpy().tolist()
            == ds.classify(ds.open(tmp_path / f"{seed}.zarr").final).label.tolist()
        )
    assert found["label"].shape == (1, 2, 2) and (found["label"] >= 0).all()


def test_the_command_tells_which_share_became_the_other_digit():
    moved = np.array([[[0.5, 1.0, 0.0], [0.0, 0.25, 0.5]]])
    found = patch_map.empty(
        {"layer": ("layer", ["conv"]), "step": ("step", [0, 4]), "sample": ("sample", ["a", "b", "c"])},
        {"label_a": np.array([1, 2, 3]), "label_b": np.array([7, 2, 9])},
        {},
    )
    patch_map.put(found, 0, [(0, 0), (0, 1), (0, 2)], moved[0, 0], np.array([7, 2, 3]))
    patch_map.put(found, 1, [(0, 0), (0, 1), (0, 2)], moved[0, 1], np.array([1, 2, 8]))
    rows = [line.split() for line in patch_map.table(found).splitlines()]
    assert rows == [
        ["moved", "step", "0", "step", "4"],
        ["conv", "0.500", "0.250"],
        ["digit", "of", "B", "step", "0", "step", "4"],
        ["conv", "0.500", "0.000"],
    ]
    found["label_b"] = found["label_a"]
    assert "digit" not in patch_map.table(found)


def test_what_does_not_fit_is_refused(small, make_small_unet, make_scheduler, pair, tmp_path):
    a, b = pair
    other = ds.load(make_small_unet(seed=1), scheduler=make_scheduler("ddim"), device="cpu")
    x = ds.noise.random(COUNT, small.shape, seed=2)
    short = ds.record(small, x, tmp_path / "short.zarr", steps=2, layers=LAYERS)
    final = ds.record(small, x, tmp_path / "final.zarr", steps=STEPS, extract_states=False)
    one = ds.record(
        small, ds.noise.perturbed(1, small.shape, epsilon=1.0), tmp_path / "one.zarr", steps=STEPS
    )
    for arguments, options, match in (
        ((other, a, b), {}, "from another model"),
        ((small, a, short), {}, "recorded in 2 steps, this run takes 3"),
        ((small, final, b), {}, "holds final images only"),
        ((small, a, b), {"steps": [STEPS]}, "allowed: 0 to 2"),
        ((small, a, b), {"layers": ["conv_out"]}, "does not hold layer 'conv_out'"),
        ((small, a, b), {"layers": ["conv_nowhere"]}, "^layers: unknown layer"),
        ((small, a, one), {"layers": ["conv_in"]}, "3 samples and .* 2 of other names"),
        ((small, a, tmp_path / "none.zarr"), {}, "no such recording"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            ds.patch(*arguments, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"cannot read .*zarr"):
        checkpoint.read(a.path)


@pytest.mark.slow
def test_a_killed_map_is_resumed(model, recorder, tmp_path):
    denoiser, out = ds.load(model, device="cpu"), tmp_path / "map.npz"
    a, b = both(denoiser, tmp_path)
    running = recorder.start("patch", a.path, b.path, "--output", out, holds_at=[6])
    # The survey of the layers takes two calls; runs patched in steps 0, 1 and 2 take three, two and one.
    running.until("call 6\n")
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    done = checkpoint.read(out)["done"].to_numpy()
    assert done.all(axis=(0, 2)).tolist() == [True, False, False] and done.sum() == done[:, 0].size
    with threads_set_to(2), pytest.raises(ds.UserError, match="differs in number of threads: 1 → 2"):
        ds.patch(denoiser, a, b, checkpoint=Checkpoint(out, resume=True))
    with threads_set_to(1):  # as the killed process had
        found = ds.patch(denoiser, a, b, checkpoint=Checkpoint(out, resume=True))
        assert found["moved"].identical(ds.patch(denoiser, a, b)["moved"])
