"""Gradients against a closed form, central finite differences and plain autograd, and what they cost."""

import copy
import re

import pytest
import tiny_models
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import denoscope as ds
from denoscope.foundation.errors import UserError

STEPS = 2
# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def half_square(x_0):
    return x_0.square().sum((1, 2, 3)) / 2


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def network(make_small_unet):
    """A network of one block with attention of two heads."""
    return make_small_unet(add_attention=True, attention_head_dim=4)


@pytest.fixture(scope="module")
def single(network, make_scheduler):
    return ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture(scope="module")
def double(network, make_scheduler):
    return ds.load(network, scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_gradient_of_gaussian_data_is_that_of_the_closed_form(gaussian, make_scheduler, steps):
    """x_0 = g·x_T for each pixel, so that the gradient of Σ x_0²/2 is g²·x_T."""
    denoiser = gaussian((3.0, 1.0, 0.2), make_scheduler("ddim"))
    x_T = drawn(5, 1, 1, 3)
    options = dict(steps=steps, sampler_dtype="float64")
    gains = ds.sample(denoiser, torch.ones(1, 1, 1, 3, dtype=torch.float64), **options)
    found = ds.gradient(denoiser, x_T, half_square, **options)
    torch.testing.assert_close(found, gains**2 * x_T, rtol=1e-5, atol=1e-12)


SCHEDULERS = [
    "DDPMScheduler",
    "HeunDiscreteScheduler",
    "PNDMScheduler",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("DDIMScheduler", "LMSDiscreteScheduler")),
]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_gradient_by_x_T_is_the_central_difference(network, name):
    import diffusers

    kind = getattr(diffusers, name)
    scheduler = kind(clip_sample=False) if name.startswith("DD") else kind()
    denoiser = ds.load(network, scheduler=scheduler, dtype="float64", device="cpu")
    x_T, direction, h = drawn(3, *denoiser.shape), drawn(3, *denoiser.shape, seed=1), 1e-4
    options = dict(steps=4 if name == "PNDMScheduler" else STEPS)
    ahead, behind = (half_square(ds.sample(denoiser, x_T + s * h * direction, **options)) for s in (1, -1))
    found = (ds.gradient(denoiser, x_T, half_square, **options) * direction).sum((1, 2, 3))
    torch.testing.assert_close(found, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "layer", ["mid_block", "conv_out", "mid_block.attentions.0:v", "mid_block.attentions.0:probs"]
)
def test_the_gradient_by_a_layer_is_the_central_difference_in_each_step(double, layer):
    x_T, h = drawn(2, *double.shape), 1e-4
    found = ds.gradient(double, x_T, half_square, wrt=layer, steps=STEPS)
    (read,) = double.chosen_layers([layer])
    assert found.shape == (2, STEPS, *read.shape)
    direction = drawn(*read.shape, seed=3)
    for step in range(STEPS):
        ends = [
            half_square(
                ds.sample(
                    double, x_T, steps=STEPS, interventions=[ds.Intervention(layer, "add", s * h * direction, steps=step)]
                )
            )
            for s in (1, -1)
        ]  # fmt: skip
        along = (found[:, step] * direction).flatten(1).sum(1)
        torch.testing.assert_close(along, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-7)


def test_calls_and_branches_have_axes_of_their_own():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("UpBlock2D",)}
        network = tiny_models.conditional_unet(block_out_channels=(8,), **blocks).eval()
        prompt = torch.randn(2, 5, 8)
    denoiser = ds.load(network, scheduler="HeunDiscreteScheduler", dtype="float64", device="cpu")
    condition = ds.Condition({"encoder_hidden_states": prompt}, {"encoder_hidden_states": prompt * 0}, 3.0)
    x_T, h, options = drawn(2, *denoiser.shape), 1e-4, dict(steps=2, condition=condition)
    found = ds.gradient(denoiser, x_T, half_square, wrt="mid_block", **options)
    (read,) = denoiser.chosen_layers(["mid_block"])
    assert found.shape == (2, 2, 2, 2, *read.shape)
    assert not found[:, 1, 1].any(), "the last step makes one call"
    direction = drawn(*read.shape, seed=3)
    for call, branch in ((0, "uncond"), (1, "cond")):
        ends = [
            half_square(
                ds.sample(
                    denoiser, x_T, **options,
                    interventions=[
                        ds.Intervention("mid_block", "add", s * h * direction, steps=0, calls=call, branches=branch)
                    ],
                )
            )
            for s in (1, -1)
        ]  # fmt: skip
        along = (found[:, 0, call, denoiser.branches(condition).index(branch)] * direction).flatten(1).sum(1)
        torch.testing.assert_close(along, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-7)


def test_it_is_the_gradient_of_plain_autograd_of_a_frozen_network_bit_for_bit(single, make_scheduler):
    """Frozen, since the kernels of some processors round other gradients where those of the weights are computed, too."""
    single = ds.load(
        copy.deepcopy(single.network).requires_grad_(False), scheduler=single.scheduler, device="cpu"
    )
    x_T = drawn(8, *single.shape).float().requires_grad_()
    scheduler, x = make_scheduler("ddim"), x_T
    scheduler.set_timesteps(STEPS)
    for timestep in scheduler.timesteps:
        x = scheduler.step(single.network(x, timestep).sample, timestep, x).prev_sample
    (truth,) = torch.autograd.grad(half_square(x).sum(), x_T)
    assert torch.equal(ds.gradient(single, x_T, half_square, steps=STEPS), truth)
    with torch.no_grad():
        assert torch.equal(ds.gradient(single, x_T, half_square, steps=STEPS), truth)


@pytest.mark.parametrize("wrt", ["x_T", "mid_block"])
@pytest.mark.parametrize("noise", ["common", "independent"])
def test_the_bits_of_a_sample_do_not_depend_on_the_batch(network, make_scheduler, wrt, noise):
    stochastic = ds.load(network, scheduler=make_scheduler("ddpm"), device="cpu")
    x_T, names = drawn(12, *stochastic.shape).float(), [f"s{k}" for k in range(12)]
    options = dict(wrt=wrt, steps=2, noise=noise)
    whole = ds.gradient(stochastic, x_T, half_square, names=names, **options)
    for chosen in ([3], [11, 0, 5]):
        part = ds.gradient(stochastic, x_T[chosen], half_square, names=[names[k] for k in chosen], **options)
        assert torch.equal(part, whole[chosen])


def test_an_objective_may_be_one_number_and_interventions_are_passed_through(single):
    x_T = drawn(2, *single.shape).float()
    each = ds.gradient(single, x_T, half_square, steps=2)
    assert torch.equal(ds.gradient(single, x_T, lambda x_0: half_square(x_0).sum(), steps=2), each)
    cut = [ds.Intervention("conv_out", "ablate")]
    assert not ds.gradient(single, x_T, half_square, wrt="mid_block", steps=2, interventions=cut).any()


def saved_bytes(run):
    """Bytes that autograd keeps outside the parts it recomputes."""
    kept = {}
    with saved_tensors_hooks(lambda t: kept.setdefault((t.data_ptr(), t.shape), t), lambda t: t):
        run()
    return sum(tensor.nbytes for tensor in kept.values())


def test_a_step_keeps_its_state_and_no_activations(single):
    x_T = drawn(8, *single.shape).float()
    calls = []
    handle = single.network.register_forward_hook(lambda *_: calls.append(1) and None)
    sizes = [
        saved_bytes(lambda steps=steps: ds.gradient(single, x_T, half_square, steps=steps))
        for steps in (2, 6)
    ]
    handle.remove()
    activations = sum(layer.bytes for layer in single.layers()) * len(x_T)
    assert (sizes[1] - sizes[0]) / 4 <= 4 * x_T.nbytes < activations / 10
    assert len(calls) <= 2 * (2 + 6), "a network is run once, and once again on the way back"


BLOCK = "down_blocks.0.resnets.0"
WRITES = [
    ds.Intervention(BLOCK, "scale", 0.5),
    ds.Intervention("mid_block.resnets.1", "ablate"),
    ds.Intervention(BLOCK, lambda state, _call: state.tanh()),
]


@pytest.mark.parametrize(
    "options",
    [
        {"wrt": BLOCK},
        {"wrt": "mid_block.resnets.1"},
        *({"interventions": [write], "wrt": wrt} for write in WRITES for wrt in ("x_T", "conv_in")),
    ],
    ids=str,
)
def test_a_network_that_checkpoints_itself_has_the_gradient_of_one_that_does_not(
    make_small_unet, make_scheduler, options
):
    """Its blocks are called again in the backward pass; each gradient is the central difference too."""
    network = make_small_unet()
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    x_T, options = drawn(1, *denoiser.shape), options | {"steps": 1}
    plain = ds.gradient(denoiser, x_T, half_square, **options)
    network.enable_gradient_checkpointing()
    assert torch.equal(ds.gradient(denoiser, x_T, half_square, **options), plain)
    assert network.is_gradient_checkpointing
    direction, h = drawn(*plain.shape[1:], seed=1), 1e-4
    ends = []
    for sign in (1, -1):
        change = sign * h * direction
        if options["wrt"] == "x_T":
            ends.append(ds.sample(denoiser, x_T + change, steps=1, interventions=options["interventions"]))
        else:
            added = ds.Intervention(
                options["wrt"], lambda state, _call, change=change: state + change.reshape(state.shape[1:])
            )
            written = [*options.get("interventions", []), added]
            ends.append(ds.sample(denoiser, x_T, steps=1, interventions=written))
    expected = (half_square(ends[0]) - half_square(ends[1])) / (2 * h)
    torch.testing.assert_close((plain * direction).sum().reshape(1), expected, rtol=1e-5, atol=1e-8)


class Checkpointed(torch.nn.Module):
    """Calls a layer through PyTorch's own checkpointing, which no flag switches off."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, padding=1), torch.nn.Tanh())
        self.outer = torch.nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x, _t):
        return self.outer(checkpoint(self.inner, x, use_reentrant=False))


@pytest.mark.parametrize(
    "options",
    [
        {"wrt": "inner.0"},
        {"wrt": "inner.1", "interventions": [ds.Intervention("inner.0", "scale", 2.0)]},
        {"interventions": [ds.Intervention("inner.1:in", "scale", 2.0)]},
    ],
    ids=str,
)
def test_a_write_into_a_layer_that_is_called_again_is_refused(make_scheduler, options):
    network = Checkpointed()
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), shape=(2, 8, 8), device="cpu")
    x_T = drawn(1, 2, 8, 8).float()
    with pytest.raises(UserError, match=r"calls 'inner\.\d' again in the backward pass"):
        ds.gradient(denoiser, x_T, half_square, steps=1, **options)
    outside = ds.Intervention("outer:in", "scale", 2.0)
    found = ds.gradient(denoiser, x_T, half_square, steps=1, interventions=[outside])
    network.forward = lambda x, _t: network.outer(network.inner(x))
    assert torch.equal(found, ds.gradient(denoiser, x_T, half_square, steps=1, interventions=[outside]))


def test_nothing_is_left_behind(single, hooks_of):
    before, state = hooks_of(single.network), torch.get_rng_state()
    x_T = drawn(1, *single.shape).float()
    ds.gradient(single, x_T, half_square, wrt="mid_block", steps=1)
    assert hooks_of(single.network) == before and torch.equal(torch.get_rng_state(), state)
    assert not x_T.requires_grad and all(p.grad is None for p in single.network.parameters())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"objective": lambda x_0: x_0}, r"returned \[2, 2, 8, 8\]; allowed: one number for each of 2"),
        ({"objective": lambda _x_0: 3.0}, "returned float"),
        ({"objective": lambda x_0: half_square(x_0.detach())}, "does not depend on x_0"),
        ({"wrt": "x_t"}, "^wrt: unknown layer 'x_t'"),
        ({"wrt": "mid_block.resnets.*"}, "names 2 layers"),
        ({"wrt": "mid_block.resnets.0:diff"}, "read, not written"),
        ({"noise": "independent"}, "independent noise depends on the samples' names, .* names="),
        ({"names": ["a", "a"]}, "one name twice"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_what_cannot_be_derived_is_refused(single, options, match):
    objective = options.get("objective", half_square)
    options = {"steps": 1} | {name: value for name, value in options.items() if name != "objective"}
    with pytest.raises(UserError, match=match) as caught:
        ds.gradient(single, drawn(2, *single.shape).float(), objective, **options)
    assert not re.search("\n", str(caught.value))
