"""Networks that are not from diffusers: their failures, and their state beside the weights."""

import pytest
import torch
from torch import nn

import denoscope as ds


class Foreign(nn.Module):
    """A network of [1, 8, 8] whose `forward` each test chooses."""

    def __init__(self, forward=None, extra=None):
        super().__init__()
        self.conv, self.embedding, self.extra = nn.Conv2d(1, 1, 3, padding=1), nn.Embedding(1000, 1), extra
        self.chosen = forward or (lambda module, x, _t: module.conv(x))

    def forward(self, x, t):
        return self.chosen(self, x, t)

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


@pytest.fixture
def load(make_scheduler):
    return lambda network: ds.load(network, scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")


WRONG = {
    "a timestep for each row": lambda m, x, t: m.conv(x) + t[:, None],
    "the arguments swapped": lambda m, t, x: m.conv(x),  # noqa: ARG005
    "an embedding of a row of timesteps": lambda m, x, t: m.conv(x) + m.embedding(t)[:, :, None],
    "an argument that nobody passes": lambda m, x, t: m.conv(x) * t.scale,
    "an error of its own": lambda m, x, t: 1 / 0,  # noqa: ARG005
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_network_that_cannot_be_called_says_how_it_was_called(load, tmp_path, wrong):
    x = ds.noise.random(2, (1, 8, 8))
    called = r"Foreign fails when it is called as network\(x \[\d, 1, 8, 8\], t 0-d\), with x in float32 and t in int64: \w+Error"
    for run in (
        lambda denoiser: ds.sample(denoiser, x, steps=1),
        lambda denoiser: ds.record(denoiser, x, tmp_path / "a.zarr", steps=1),
    ):
        with pytest.raises(ds.UserError, match=called) as caught:
            run(load(Foreign(WRONG[wrong])))
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_error_after_the_first_call_is_the_network_s_own(load):
    calls = iter(range(100))

    def forward(module, x, _t):
        if next(calls) == 1:
            raise ZeroDivisionError("mine")
        return module.conv(x)

    with pytest.raises(ZeroDivisionError, match="mine"):
        ds.sample(load(Foreign(forward)), torch.zeros(1, 8, 8), steps=3)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": 2}), ([1, {"b": "x"}], [1, {"b": "y"}]), (torch.zeros(2), torch.ones(2)), (None, True)],
)
def test_extra_state_is_part_of_the_fingerprint(load, tmp_path, one, other):
    x = ds.noise.random(1, (1, 8, 8))

    def denoiser(extra):
        torch.manual_seed(0)
        return load(Foreign(extra=extra))

    ds.record(denoiser(one), x, tmp_path / "run.zarr", steps=1)
    ds.record(denoiser(one), x, tmp_path / "run.zarr", steps=1, resume=True)
    with pytest.raises(ds.UserError, match=r"cannot be resumed: .*weights"):
        ds.record(denoiser(other), x, tmp_path / "run.zarr", steps=1, resume=True)


def test_extra_state_of_any_class_has_the_same_fingerprint_in_every_process(load):
    x, first, second = ds.noise.random(1, (1, 8, 8)), object(), object()
    torch.manual_seed(0)
    network = Foreign(extra=first)
    one = ds.record(load(network), x, steps=1).attrs["fingerprint"]
    network.extra = second
    assert ds.record(load(network), x, steps=1).attrs["fingerprint"] == one
