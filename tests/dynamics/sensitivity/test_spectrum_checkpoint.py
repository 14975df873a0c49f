"""An interrupted spectrum is resumed to the same bits; the checkpoint of other work is refused."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.models.conditioning import Condition


def same_bits(one, other) -> None:
    """All numbers, warnings and origins of two results are equal."""
    assert one.exponents.tobytes() == other.exponents.tobytes()
    assert one.residuals.tobytes() == other.residuals.tobytes()
    assert torch.equal(one.left, other.left) and torch.equal(one.right, other.right)
    assert one.left.dtype == other.left.dtype and one.right.dtype == other.right.dtype
    assert one.to_dict() == other.to_dict()


def interrupt_after(count: int, out, measure) -> None:
    def stop(done, _total):
        if done == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(checkpoint=Checkpoint(out, progress=stop))


@pytest.mark.usefixtures("save_every_piece")
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {"k": 2}),
        pytest.param("float64", {"k": 2, "differences": True}, marks=pytest.mark.slow),
        pytest.param("bfloat16", {"k": 1}, marks=pytest.mark.slow),
        ("float32", {"k": 2, "layer": "mid_block", "step": 1}),
        pytest.param("float32", {"k": 2, "noise": "independent", "name": "other"}, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_spectrum_is_resumed_to_the_same_bits(
    make_small_unet, make_scheduler, tmp_path, dtype, options
):
    denoiser = ds.load(make_small_unet(), scheduler=make_scheduler("ddpm"), dtype=dtype, device="cpu")
    x_T, out = ds.noise.random(1, denoiser.shape, seed=1).batch([0]), tmp_path / "block.npz"

    def measure(**further):
        return spectrum(denoiser, x_T, **options | {"steps": 2, "iterations": 3, "tolerance": 0.0} | further)

    whole = measure()
    interrupt_after(2, out, measure)
    left = checkpoint.read(out)
    assert int(left["iterations"]) == 2 and np.isfinite(left["exponents"]).all()
    reported = []
    same_bits(
        measure(checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: reported.append(counts))),
        whole,
    )
    assert reported == [(3, 3)]

    def fail(*_):
        pytest.fail("a finished iteration is computed again")

    before = dict(checkpoint.read(out).variables)
    same_bits(measure(checkpoint=Checkpoint(out, resume=True, progress=fail)), whole)
    assert all(
        np.array_equal(before[name], values) for name, values in checkpoint.read(out).variables.items()
    )


def test_a_finished_spectrum_is_read_without_computing_anything(exact, tmp_path, monkeypatch):
    x_T, out = ds.noise.random(1, exact.shape, seed=1).batch([0]), tmp_path / "block.npz"
    options = {"k": 2, "steps": 2, "iterations": 3}
    spectrum(exact, x_T, checkpoint=out, **options)
    compared = spectrum(exact, x_T, differences=True, checkpoint=Checkpoint(out, resume=True), **options)
    assert compared.difference_errors.max() < 1e-6
    for name in ("push", "pull", "__call__"):
        monkeypatch.setattr(DenoisingMap, name, lambda *_: pytest.fail("computed again"))
    same_bits(
        spectrum(exact, x_T, differences=True, checkpoint=Checkpoint(out, resume=True), **options), compared
    )
    assert spectrum(exact, x_T, checkpoint=Checkpoint(out, resume=True), **options).difference_errors is None


@pytest.mark.usefixtures("save_every_piece")
def test_the_checkpoint_of_another_spectrum_or_a_damaged_one_is_refused(tiny, tmp_path):
    x_T, out = ds.noise.random(1, tiny.shape, seed=1).batch([0]), tmp_path / "block.npz"
    options = {"x_T": x_T, "k": 2, "steps": 2, "iterations": 3}
    interrupt_after(1, out, lambda **further: spectrum(tiny, **options, **further))
    before = out.read_bytes()
    for change, message in (
        ({"x_T": -x_T}, "differs in x_T: "),
        ({"k": 3}, "differs in k: 2 → 3; block: 6 → 7; name another"),
        ({"steps": 3}, "differs in num_steps: 2 → 3"),
        ({"seed": 1}, "differs in seed: 0 → 1"),
        ({"tolerance": 0.1}, "differs in tolerance: 0.001 → 0.1"),
        ({"iterations": 30}, "differs in iterations: 3 → 30"),
        ({"oversampling": 5}, "differs in block: 6 → 7"),
        ({"layer": "conv_in"}, "differs in layer: None → conv_in; step: None → 1"),
        ({"noise": "independent"}, "differs in noise: common → independent; sample: None → sample_0000"),
        ({"noise_seed": 5}, "differs in noise_seed: 42 → 5"),
    ):
        with pytest.raises(ds.UserError, match=message):
            spectrum(tiny, **options | change, checkpoint=Checkpoint(out, resume=True))
    with pytest.raises(ds.UserError, match="exists"):
        spectrum(tiny, **options, checkpoint=out)
    assert out.read_bytes() == before
    out.write_bytes(before[: len(before) // 2])
    with pytest.raises(ds.UserError, match="damaged"):
        spectrum(tiny, **options, checkpoint=Checkpoint(out, resume=True))
    assert spectrum(tiny, **options, checkpoint=Checkpoint(out, overwrite=True)).iterations == int(
        checkpoint.read(out)["iterations"]
    )


def test_the_checkpoint_of_another_condition_is_refused(make_small_unet, make_scheduler, tmp_path):
    network = make_small_unet(num_class_embeds=3)
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")
    x_T, plane = torch.zeros(1, *denoiser.shape), ds.noise.plane((2, 2), denoiser.shape)
    one, other = (Condition({"class_labels": torch.tensor([label])}) for label in (0, 1))
    for number, measure in enumerate(
        (
            lambda **further: spectrum(denoiser, x_T, 1, steps=1, iterations=1, **further),
            lambda **further: full_spectrum(denoiser, x_T, steps=1, **further),
            lambda **further: ds.dynamics.plane_growth(denoiser, plane, steps=1, **further),
            lambda **further: ds.dynamics.u_turn(
                denoiser, x_T, [1.0], draws=1, steps=1, label_of=lambda x: [0] * len(x), **further
            ),
        )
    ):
        out = tmp_path / f"{number}.npz"
        measure(condition=one, checkpoint=out)
        measure(condition=one, checkpoint=Checkpoint(out, resume=True))
        with pytest.raises(ds.UserError, match="differs in condition_sha256: "):
            measure(condition=other, checkpoint=Checkpoint(out, resume=True))
