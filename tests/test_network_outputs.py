"""Outputs that no scheduler takes are refused in one line, through every public function that calls the network."""

import inspect

import public_functions
import pytest
import torch
from torch import nn

import denoscope as ds

SHAPE = (1, 4, 4)
COMPUTED = "float16, bfloat16, float32, float64"
WRONG = {
    "a scalar": lambda y: y.mean(),
    "fewer columns": lambda y: y[..., :3],
    "one row for all": lambda y: y[:1],
    "one row more": lambda y: torch.cat([y, y[:1]]),
    "one number a row": lambda y: y.mean((1, 2, 3), keepdim=True),
    "no channels": lambda y: y[:, 0],
    "three times the channels": lambda y: y.repeat(1, 3, 1, 1),
    "booleans": lambda y: y > 0,
    "integers": lambda y: y.long(),
    "complex numbers": lambda y: y + 1j,
    "float8": lambda y: y.to(torch.float8_e4m3fn),
    "a sparse tensor": lambda y: y.to_sparse(),
    "another device": lambda y: y.to("meta"),
}
WITHOUT_CALLS = {"ds.dynamics.gaussian_theory", "ds.dynamics.speciation"}
"""Functions of a denoiser that read its schedule alone."""
LATER = {"ClosedLoop": (torch.zeros(1, *SHAPE),), "Tiles": (0, 0, 0)}
"""Results that call the network when they are called, with arguments."""


class Foreign(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.mix, self.change = nn.Conv2d(1, 1, 3, padding=1), change

    def forward(self, x, _t):
        return self.change(self.mix(x))


def loaded(change, scheduler="ddim"):
    return ds.load(Foreign(change), scheduler=scheduler, shape=SHAPE, device="cpu")


def refusal(function, *args, **kwargs):
    with pytest.raises(ds.UserError) as caught:
        result = function(*args, **kwargs)
        if inspect.isgenerator(result):
            next(result)
        elif type(result).__name__ in LATER:
            result(*LATER[type(result).__name__])
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("wrong", WRONG)
def test_the_message_names_the_class_the_output_and_what_is_allowed(wrong):
    y = WRONG[wrong](torch.zeros(8, *SHAPE))
    returned = f"tensor {list(y.shape)} in {str(y.dtype).removeprefix('torch.')} on {y.device} "
    message = refusal(ds.sample, loaded(WRONG[wrong]), torch.zeros(3, *SHAPE), steps=1, lanes=8)
    assert message.startswith("Foreign returned a ") and returned in message
    assert "[8, 1, 4, 4], or [8, 2, 4, 4] with learned variances" in message and COMPUTED in message


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_written(tmp_path, wrong):
    for out in ("run.zarr", "run"):
        message = refusal(
            ds.record, loaded(WRONG[wrong]), torch.zeros(3, *SHAPE), tmp_path / out, steps=1, layers="mix"
        )
        assert message.startswith("Foreign returned a ")
    assert not list(tmp_path.iterdir())


def test_every_public_function_that_calls_the_network_refuses(tmp_path_factory, monkeypatch):
    calls = public_functions.calls(tmp_path_factory.mktemp("calls"))
    of_denoisers = {name: call for name, call in calls.items() if "denoiser" in call.arguments}
    assert len(of_denoisers) > 15 + len(WITHOUT_CALLS)
    for name, call in of_denoisers.items():
        network = call.arguments["denoiser"].network
        with monkeypatch.context() as patched:
            whole = network.forward
            patched.setattr(network, "forward", lambda x, t, whole=whole: whole(x, t)[..., :3])
            if name in WITHOUT_CALLS:
                call.function(**call.arguments)
                continue
            message = refusal(call.function, **call.arguments)
        assert message.startswith("Network returned a tensor ["), (name, message)
        assert "4, 3] in float" in message, (name, message)


def test_a_guided_call_refuses_one_branch_for_both():
    class Guided(Foreign):
        def forward(self, x, _t, class_labels):
            return self.mix(x) + class_labels.to(x.dtype)[:, None, None, None]

    condition = ds.Condition(
        {"class_labels": torch.ones(1, dtype=torch.long)},
        unconditional={"class_labels": torch.zeros(1, dtype=torch.long)},
        scale=2.0,
    )
    whole = ds.load(Guided(None), scheduler="ddim", shape=SHAPE, device="cpu")
    assert ds.sample(whole, torch.zeros(2, *SHAPE), steps=1, condition=condition, lanes=4).isfinite().all()
    half = ds.load(Guided(None), scheduler="ddim", shape=SHAPE, device="cpu")
    half.network.forward = lambda x, t, class_labels: whole.network(x, t, class_labels)[:4]
    message = refusal(ds.sample, half, torch.zeros(2, *SHAPE), steps=1, condition=condition, lanes=4)
    assert "[4, 1, 4, 4] in float32" in message and "for states [8, 1, 4, 4]" in message


def test_a_compiled_network_is_checked():
    for wrong in ("one row for all", "integers"):
        message = refusal(ds.record, loaded(WRONG[wrong]), torch.zeros(3, *SHAPE), steps=1, fast=True)
        assert message.startswith("Foreign returned a ")


def test_an_output_that_changes_later_is_refused_too():
    counts = iter([False] * 3 + [True] * 100)
    denoiser = loaded(lambda y: y[:1] if next(counts) else y)
    assert "[1, 1, 4, 4]" in refusal(ds.sample, denoiser, torch.zeros(3, *SHAPE), steps=5)


def test_an_output_in_another_precision_is_taken():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        x_0 = ds.sample(loaded(lambda y, dtype=dtype: y.to(dtype)), torch.zeros(3, *SHAPE), steps=2)
        assert x_0.dtype == torch.float32 and x_0.isfinite().all()


def test_a_scheduler_with_learned_variances_takes_twice_the_channels_alone():
    from diffusers import DDPMScheduler

    learned, x_T = DDPMScheduler(variance_type="learned_range"), torch.zeros(3, *SHAPE)
    message = refusal(ds.sample, loaded(lambda y: y, learned), x_T, steps=2)
    assert "allowed: a dense tensor [8, 2, 4, 4] with learned variances, which DDPMScheduler is" in message
    assert ds.sample(loaded(lambda y: torch.cat([y, y], 1), learned), x_T, steps=2).shape == x_T.shape
