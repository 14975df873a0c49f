"""The denoiser itself: what it refuses, its precision, its description."""

import pytest
import tiny_models
import torch

import denoscope as ds


def test_each_run_gets_its_own_scheduler(tiny):
    one, two = tiny.new_scheduler(5), tiny.new_scheduler(7)
    assert one is not two and one is not tiny.scheduler
    assert len(one.timesteps) == 5 and len(two.timesteps) == 7


def test_the_weights_hash_tells_weights_apart_and_nothing_else(make_unet, make_scheduler):
    def digest(seed, scheduler="ddim", **options):
        return ds.load(
            make_unet(seed=seed), scheduler=make_scheduler(scheduler), device="cpu", **options
        ).weights_hash

    assert digest(0) == digest(0, "ddpm") != digest(1)
    assert digest(0) != digest(0, dtype="float64")


class WithAccount(torch.nn.Module):
    """Stores its weights in one precision and computes in another, as diffusers' layerwise casting does."""

    dtype = torch.bfloat16

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1).to(torch.float8_e4m3fn), requires_grad=False)

    def forward(self, x, _timestep):
        return x * self.weight.to(x.dtype)


def test_the_precision_is_the_one_that_the_network_states():
    denoiser = ds.load(WithAccount(), scheduler="ddim", shape=(1, 2, 2))
    assert denoiser.dtype == torch.bfloat16
    assert ds.sample(denoiser, torch.ones(1, 1, 2, 2), steps=1).dtype == torch.bfloat16


def test_layerwise_casting_of_diffusers_computes_in_its_compute_precision(make_unet, make_scheduler):
    network = make_unet().to(torch.bfloat16)
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"))
    assert denoiser.dtype == torch.bfloat16 == network.dtype


class Stored(torch.nn.Module):
    """Weights of one dtype each, and a convolution that comes after them."""

    def __init__(self, *stored, computes=torch.float32):
        super().__init__()
        self.stored = torch.nn.ParameterList(
            torch.nn.Parameter(torch.ones(1).to(dtype), requires_grad=False) for dtype in stored
        )
        self.conv = torch.nn.Conv2d(1, 1, 3, padding=1, dtype=computes)

    def forward(self, x, _timestep):
        for weight in self.stored:
            x = x * weight.to(x.dtype)
        return self.conv(x)


def loaded(network, **options):
    return ds.load(network, scheduler="ddim", shape=(1, 4, 4), device="cpu", **options)


@pytest.mark.parametrize(
    ("stored", "computes"),
    [
        ([torch.float8_e4m3fn], torch.float32),
        ([torch.float8_e5m2], torch.bfloat16),
        ([torch.float8_e4m3fn, torch.float8_e5m2], torch.float64),
        ([], torch.float16),
    ],
)
def test_precisions_that_only_store_weights_are_passed_over(stored, computes):
    denoiser = loaded(Stored(*stored, computes=computes))
    assert denoiser.dtype == computes
    x_0 = ds.sample(denoiser, torch.ones(1, 1, 4, 4), steps=1)
    assert x_0.dtype == computes and x_0.isfinite().all()


def test_a_module_with_weights_in_several_precisions_is_asked_to_state_its_own():
    network, x_T = Stored(torch.float16), torch.ones(1, 1, 4, 4)
    with pytest.warns(UserWarning, match=r"float16 and float32.*network\.dtype = torch\.float32"):
        denoiser = loaded(network)
    with pytest.raises(ds.UserError, match="x in float16"):  # of which the convolution makes nothing
        ds.sample(denoiser, x_T, steps=1)
    network.dtype = torch.float32
    denoiser = loaded(network)  # warns of nothing, since warnings are errors
    assert denoiser.dtype == torch.float32
    plain = Stored()
    plain.conv.load_state_dict(network.conv.state_dict())
    assert torch.equal(ds.sample(denoiser, x_T, steps=1), ds.sample(loaded(plain), x_T, steps=1))
    assert loaded(Stored(torch.float16), dtype="float64").dtype == torch.float64


@pytest.mark.parametrize(
    ("part", "used", "other"),
    [
        ("conv_in", "float16", "float32"),
        ("conv_out", "float32", "float16"),
        ("mid_block", "float32", "float16"),
    ],
)
def test_a_network_of_diffusers_in_several_precisions_warns_of_the_one_it_takes(part, used, other):
    network = tiny_models.unet()
    getattr(network, part).half()
    with pytest.warns(UserWarning, match="has weights in") as warned:
        denoiser = ds.load(network, scheduler="ddim", device="cpu")
    (message,) = (str(item.message) for item in warned)
    assert f"UNet2DModel has weights in {used} and {other}: its states are {used}" in message
    assert f"network.to(torch.{other})" in message and "\n" not in message
    assert warned[0].filename == __file__ and denoiser.dtype == getattr(torch, used)
    whole = ds.load(network, scheduler="ddim", device="cpu", dtype="float64")  # no warning
    assert ds.sample(whole, torch.zeros(1, 3, 8, 8), steps=1).dtype == torch.float64


def test_a_network_of_diffusers_in_one_precision_warns_of_nothing():
    from diffusers.hooks import apply_layerwise_casting

    assert ds.load(tiny_models.unet().half(), scheduler="ddim", device="cpu").dtype == torch.float16
    cast = tiny_models.unet()
    apply_layerwise_casting(cast, torch.float8_e4m3fn, torch.float32)
    assert ds.load(cast, scheduler="ddim", device="cpu").dtype == torch.float32


def test_layerwise_casting_of_a_plain_module_computes_in_its_compute_precision():
    from diffusers.hooks import apply_layerwise_casting

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1))
    apply_layerwise_casting(network, torch.float8_e4m3fn, torch.bfloat16, skip_modules_pattern=())
    assert network[0].weight.dtype == torch.float8_e4m3fn
    assert loaded(network).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("mnist", ["denoiser is 'mnist'", "ds.load('mnist')"]),
        (torch.zeros(1, 2, 8, 8), ["denoiser is a Tensor", "allowed: a denoiser"]),
        (torch.nn.Identity(), ["Identity", "ds.load(module"]),
        (None, ["None", "ds.load"]),
    ],
)
def test_what_is_not_a_denoiser_is_refused_with_the_remedy(value, words):
    for function in (ds.sample, ds.denoise, ds.dynamics.spectrum, ds.basins.map):
        with pytest.raises(ds.UserError) as caught:
            function(value, torch.zeros(1, 2, 8, 8))
        message = str(caught.value)
        assert "\n" not in message and "denoiser" in message and all(word in message for word in words)


def test_swapped_arguments_are_refused_in_one_line(tiny):
    with pytest.raises(ds.UserError, match=r"^denoiser is a Tensor; allowed: a denoiser"):
        ds.sample(torch.zeros(1, 2, 8, 8), tiny)
    with pytest.raises(ds.UserError, match=r"^x_T is a Denoiser; .*\[n, 2, 8, 8\]"):
        ds.sample(tiny, tiny)


def test_the_description_is_one_line(tiny):
    parameters = sum(parameter.numel() for parameter in tiny.network.parameters())
    assert repr(tiny) == (
        f"<Denoiser UNet2DModel: UNet2DModel with {parameters:,} parameters, states 2×8×8 float32 on cpu, "
        "DDIMScheduler>"
    )


def test_a_notebook_shows_a_table(tiny):
    html = tiny._repr_html_()
    for text in ("UNet2DModel", "2×8×8", "float32", "cpu", "DDIMScheduler", "1000"):
        assert f">{text}<" in html or f"Denoiser {text}" in html
