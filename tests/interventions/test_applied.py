"""Several interventions in recordings: bits, errors before any work, and hooks that do not remain."""

import re

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.foundation.errors import UserError
from denoscope.interventions.spec import Intervention

STEPS = 4
LAYER = "mid_block"  # [16, 4, 4]


ALL = [
    Intervention(LAYER, "noise", 0.1),
    Intervention(LAYER, "ablate", "mean", channels="0:4", steps="0:2"),
    Intervention("conv_in", "project_out", list(range(8)), samples=["sample_0001", "sample_0009"]),
    Intervention("conv_in", "add", 0.1, channels=3),
]


@pytest.fixture(scope="module", params=["common", "independent"])
def whole(request, record, tiny, source, tmp_path_factory):
    """A plan, the kind of noise, and a recording of twelve samples with both."""
    plan = [*ALL, Intervention("up_blocks.1", "scale", 0.9), Intervention("conv_out", "swap", source, steps=1),
            Intervention(LAYER, "ablate", source, steps=3)]  # fmt: skip
    x, out = ds.noise.random(12, tiny.shape, seed=1), tmp_path_factory.mktemp("whole") / "a.zarr"
    return plan, request.param, record(tiny, x, out, interventions=plan, noise=request.param)


@pytest.mark.parametrize("order", [pytest.param((7,), marks=pytest.mark.slow), (11, 3, 1), range(12)[::-1]])
def test_the_bits_of_a_sample_depend_on_neither_batch_nor_order_nor_subset(
    record, tiny, x, whole, tmp_path, order
):
    plan, kind, whole = whole
    part = record(
        tiny,
        x.subset(order),
        tmp_path / "b.zarr",
        interventions=plan,
        noise=kind,
        batch_size=16,
        flatten=False,
    )
    for name in (None, LAYER):
        one, other = (rec.sequence if name is None else rec.states[name] for rec in (whole, part))
        assert one.sel(sample=other["sample"]).to_numpy().tobytes() == other.to_numpy().tobytes()


UNFIT = [
    (dict(do="add", value=[1.0] * 15), r"shape \[15\] does not fit .* \[16, 4, 4\]"),
    (dict(do="add", value=[1.0] * 16, channels="0:8"), r"\[16\] does not fit .* \[8, 4, 4\]"),
    (dict(do="set", value=[[1.0] * 3] * 3), r"\[3, 3\] does not fit .* \[16, 4, 4\]"),
    (dict(do="project_out", value=0.0), "one number for each channel"),
    (dict(do="scale", value=1, channels="16:"), "channels '16:' does not fit .*; allowed: .* 0 to 15"),
    (dict(do="ablate", channels="16:"), "channels '16:' does not fit"),
    (dict(do="noise", value=1, tokens="0"), "has no tokens"),
    (dict(do="scale", value=1, channels="a"), "channels 'a' is not a choice of indices"),
    (dict(do="scale", value=1, tokens="0"), "has no tokens"),
    (dict(do="scale", value=1, heads="0"), "has no heads"),
    (dict(do="scale", value=1, steps=[0, STEPS]), "steps '0,4' does not fit"),
    (dict(do="scale", value=1, calls=1), "calls '1' does not fit"),
    (dict(do="scale", value=1, branches="cond"), "no branch 'cond'; allowed: none"),
    (dict(do="scale", value=1, samples="a"), r"ds\.denoise, ds\.sample or ds\.gradient names="),
    (dict(do="scale", value=1, at="mid_blok"), "unknown layer 'mid_blok'; the nearest are mid_block"),
    (dict(do="scale", value=1, at="mid_block.resnets.0:diff"), ":diff and :before are read, not written"),
    (dict(do="scale", value=1, at="mid_block:before"), ":diff and :before are read, not written"),
    (dict(do="add", value="nowhere.pt"), "no such file"),
    (dict(do="add", value="nowhere.txt"), "not a file of a tensor; allowed: .pt"),
    (dict(do="add", value="nowhere.npy"), "cannot read nowhere.npy"),
    (dict(do="swap", value="nowhere.zarr"), "no such recording"),
]


@pytest.mark.parametrize(("fields", "match"), UNFIT)
def test_an_intervention_that_does_not_fit_is_an_error_before_any_work(
    record, tiny, x, fields, match, tmp_path
):
    at = fields.get("at", LAYER)
    item = Intervention(**{"at": at} | fields)
    with pytest.raises(UserError, match=match) as caught:
        ds.sample(tiny, x.batch([0]), steps=STEPS, interventions=[item])
    assert "\n" not in str(caught.value)
    if "samples" not in fields:
        with pytest.raises(UserError, match=match):
            record(tiny, x, tmp_path / "a.zarr", interventions=[item])
        assert not (tmp_path / "a.zarr").exists()


def test_a_pickled_value_is_an_error(tiny, x, tmp_path):
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"v\.npy"):
        ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, "add", tmp_path / "v.npy")])


def test_a_recording_of_another_run_is_an_error(record, tiny, make_unet, make_scheduler, x, source, tmp_path):
    other = ds.load(make_unet(seed=1), scheduler=make_scheduler("ddim"), device="cpu")
    trailing = ds.load(
        make_unet(), scheduler=make_scheduler("ddim", timestep_spacing="trailing"), device="cpu"
    )
    part = record(tiny, x.subset([0]), tmp_path / "part.zarr", channels="0:4").path
    every = record(tiny, x.subset([0]), tmp_path / "every.zarr", every=(2,)).path
    for denoiser, path, layer, steps, names, match in (
        (tiny, source, LAYER, 3, None, "recorded in 4 steps, this run takes 3"),
        (other, source, LAYER, STEPS, None, "from a model with other weights"),
        (trailing, source, LAYER, STEPS, None, "other timesteps"),
        (tiny, source, "conv_in", STEPS, None, "does not hold layer 'conv_in'; it holds"),
        (
            tiny,
            part,
            LAYER,
            STEPS,
            None,
            re.escape("[4, 4, 4] of layer 'mid_block', whose own shape is [16, 4, 4]"),
        ),
        (tiny, every, LAYER, STEPS, None, "does not hold the states of step 1"),
        (tiny, source, LAYER, STEPS, None, r"ds\.denoise, ds\.sample or ds\.gradient names="),
        (tiny, source, LAYER, STEPS, ["a"], "has no sample 'a'"),
    ):
        with pytest.raises(UserError, match=match):
            ds.sample(
                denoiser,
                x.batch([0]),
                steps=steps,
                names=names,
                interventions=[Intervention(layer, "swap", path)],
            )


def test_no_hook_remains_after_a_run(tiny, x, hooks_of):
    before = hooks_of(tiny.network)
    ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, "scale", 2.0)])
    assert hooks_of(tiny.network) == before


def test_one_intervention_needs_no_list(tiny):
    x, half = ds.noise.random(1, tiny.shape), Intervention("mid_block", "scale", 0.5)
    assert torch.equal(
        ds.sample(tiny, x, steps=2, interventions=half), ds.sample(tiny, x, steps=2, interventions=[half])
    )
    rec = ds.record(tiny, x, steps=2, interventions=half)
    assert rec.attrs["interventions"][0]["do"] == "scale"


@pytest.mark.parametrize("wrong", [3, "scale", ["scale"], {"at": "mid_block"}])
def test_anything_but_interventions_is_refused(tiny, wrong):
    x = ds.noise.random(1, tiny.shape)
    for run in (ds.sample, ds.record):
        with pytest.raises(
            ds.UserError, match=r"interventions is .*; allowed: ds.Intervention\(…\), or several in a list"
        ):
            run(tiny, x, steps=1, interventions=wrong)
