"""Leading exponents: closed forms through diffusers' schedulers, and a plain Jacobian of a U-Net."""

import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, ddpm_factor, denoiser_of, gaussian, levels, scheduler_of, some, timesteps
from plain_jacobian import jacobian_of, plain_jacobian

import denoscope as ds
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.local_expansion import local_expansion
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.foundation.checkpoint import Checkpoint

EIGENVALUES = (3.0, 1.0, 0.3, 0.01)
# Published to ten digits.
TABLE = {
    ("ddim", 10): (1.4847272576, 0.8316958768),
    ("ddim", 50): (1.6796220133, 0.9640792715),
    ("ddim", 1000): (1.7292981858, 0.9981242940),
    ("ddpm", 50): (0.0230480405, 0.00768358729),
}


def rotation(width: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=draws)).Q


@pytest.mark.parametrize(
    ("kind", "steps"), [pytest.param(*key, marks=pytest.mark.slow if key[1] == 1000 else ()) for key in TABLE]
)
def test_singular_values_of_gaussian_data_are_those_of_the_table(kind, steps):
    denoiser = gaussian((3.0, 1.0), kind)
    for found in (spectrum(denoiser, some(2), 2, steps=steps), full_spectrum(denoiser, some(2), steps=steps)):
        np.testing.assert_allclose(np.exp(found.exponents), TABLE[kind, steps], rtol=1e-9)
        assert not found.warnings


@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_singular_vectors_of_gaussian_data_are_eigenvectors_of_the_covariance(kind):
    q = rotation(4)
    denoiser = gaussian(q @ torch.diag(torch.tensor(EIGENVALUES, dtype=torch.float64)) @ q.T, kind)
    expected = [
        math.log(ddpm_factor(value, 20)) if kind == "ddpm" else np.log(ddim_factors(value, 20)).sum()
        for value in EIGENVALUES
    ]
    leading = spectrum(denoiser, some(4), 2, steps=20, tolerance=1e-12)
    every = full_spectrum(denoiser, some(4), steps=20)
    np.testing.assert_allclose(leading.exponents, expected[:2], rtol=1e-9)
    np.testing.assert_allclose(every.exponents, expected, rtol=1e-9)
    assert every.log_det == pytest.approx(sum(expected), rel=1e-9)
    for found, tolerance in ((leading, 1e-5), (every, 1e-7)):
        for index, vector in enumerate(found.right):
            assert abs(vector.flatten() @ q[:, index]) == pytest.approx(1, abs=tolerance)
            assert abs(found.left[index].flatten() @ q[:, index]) == pytest.approx(1, abs=tolerance)
            assert vector.flatten() @ found.left[index].flatten() > 0  # the map reverses no direction
    assert leading.residuals.max() < 1e-5


def test_exponents_of_a_unet_are_those_of_a_plain_jacobian(exact):
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    jacobian = plain_jacobian(exact, x_T, 2)
    expected = torch.linalg.svdvals(jacobian).log().numpy()
    leading = spectrum(exact, x_T, 4, steps=2, oversampling=20, tolerance=1e-9)
    every = full_spectrum(exact, x_T, steps=2)
    np.testing.assert_allclose(leading.exponents, expected[:4], atol=1e-8)
    np.testing.assert_allclose(every.exponents, expected, atol=1e-8)
    assert every.log_det == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet), abs=1e-8)
    moved = jacobian @ every.right.flatten(1).T
    np.testing.assert_allclose(moved.T, np.exp(expected)[:, None] * every.left.flatten(1).numpy(), atol=1e-9)


def test_exponents_of_a_layers_state_are_the_closed_form():
    """Gaussian data: ε* in step k is √(1−ᾱ)/(ᾱλ+1−ᾱ) times x_k, and x_k the product of the factors times x_T."""
    eigenvalues, every = (3.0, 1.0, 0.3, 0.01), levels(scheduler_of("ddim"))
    for step in (0, 3, -1):
        t = timesteps(10)[step]
        expected = [
            math.sqrt(1 - every[t])
            / (every[t] * value + 1 - every[t])
            * ddim_factors(value, 10)[: step % 10].prod()
            for value in eigenvalues
        ]
        found = spectrum(gaussian(eigenvalues), some(4), 4, steps=10, layer="prediction", step=step)
        np.testing.assert_allclose(found.exponents, np.sort(np.log(expected))[::-1], rtol=1e-9)
        assert (
            found.origin["layer"] == "prediction"
            and found.origin["step"] == step % 10
            and found.log_det is None
        )


@pytest.mark.parametrize("layer", ["conv_in", pytest.param("mid_block", marks=pytest.mark.slow)])
def test_exponents_of_a_layers_state_are_those_of_a_plain_jacobian(exact, layer):
    x_T, scheduler = (
        ds.noise.random(1, exact.shape, seed=1).batch([0]).double(),
        exact.new_scheduler(4, dtype=torch.float64),
    )
    read = []

    def state(x):
        x = scheduler.step(
            exact.network(x, scheduler.timesteps[0]).sample, scheduler.timesteps[0], x
        ).prev_sample
        handle = exact.network.get_submodule(layer).register_forward_hook(
            lambda *arguments: read.append(arguments[2])
        )
        exact.network(x, scheduler.timesteps[1])
        handle.remove()
        return read.pop()

    with exact.running():
        jacobian = jacobian_of(state, x_T)
    found = spectrum(exact, x_T, 3, steps=4, layer=layer, step=1, oversampling=20, tolerance=1e-9)
    np.testing.assert_allclose(found.exponents, torch.linalg.svdvals(jacobian).log()[:3], atol=1e-8)
    assert found.left.shape[0] == 3 and found.left[0].numel() == len(jacobian)
    moved = jacobian @ found.right.flatten(1).T
    np.testing.assert_allclose(
        moved.T, np.exp(found.exponents)[:, None] * found.left.flatten(1).numpy(), atol=1e-8
    )


@pytest.mark.slow
def test_central_differences_agree_unless_the_map_has_a_kink(exact):
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    for options in ({}, {"layer": "mid_block", "step": 2}):
        found = spectrum(exact, x_T, 3, steps=3, tolerance=0.1, differences=True, **options)
        assert (
            found.difference_errors.shape == (3,)
            and found.difference_errors.max() < 1e-6
            and not found.warnings
        )
    assert spectrum(exact, x_T, 1, steps=1, iterations=1).difference_errors is None

    class Kinked(torch.nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x.relu()

    kinked = denoiser_of(Kinked(), scheduler_of("ddim"), 1)
    found = spectrum(kinked, torch.zeros(1, 1, 1, 1), 1, steps=1, differences=True)
    assert "central differences" in found.warnings[-1]


def test_the_result_contains_its_origin_and_is_reproducible(tiny):
    options = {"k": 2, "steps": 2, "seed": 5, "iterations": 3}
    found = spectrum(tiny, torch.zeros(1, *tiny.shape), **options)
    stored = found.to_dict()
    assert stored["origin"]["fingerprint"]["num_steps"] == 2 and stored["origin"]["seed"] == 5
    assert len(stored["exponents"]) == 2 and "left" not in stored and found.to_json()
    again = spectrum(tiny, torch.zeros(1, *tiny.shape), **options)
    assert again.exponents.tobytes() == found.exponents.tobytes()


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        # The layer has fewer numbers than the block has directions.
        (torch.diag(torch.tensor([3.0, 0.5]))[:, [0, 1, 1, 1, 1, 1]].double(), (3.0, 0.5 * math.sqrt(5))),
        # A direction with a singular value of 0.
        (torch.diag(torch.tensor([2.0, 0, 0, 0, 0, 0])).double(), (2.0, 0.0)),
    ],
)
def test_a_layer_that_loses_directions(weight, expected):
    class Reading(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.reading = torch.nn.Linear(6, len(weight), bias=False, dtype=torch.float64)
            self.reading.weight.data.copy_(weight)

        def forward(self, x, timestep):  # noqa: ARG002
            self.reading(x.flatten(1))
            return x * 0

    denoiser = denoiser_of(Reading(), scheduler_of("ddim"), 6)
    found = spectrum(denoiser, some(6), 2, oversampling=3, steps=2, layer="reading", step=0)
    np.testing.assert_allclose(np.exp(found.exponents), expected, rtol=1e-9)
    assert found.iterations < 20


def test_too_few_iterations_and_too_few_digits_give_warnings(tiny):
    x_T = ds.noise.random(1, tiny.shape).batch([0])
    (warning,) = spectrum(tiny, x_T, 2, steps=2, iterations=1, oversampling=0).warnings
    assert "after 1 iterations" in warning
    single = denoiser_of(gaussian((1.0, 1e-16)).network, scheduler_of("ddpm"), 2, "float32")
    found = full_spectrum(single, some(2).float(), steps=50)
    assert any("1 of 2 exponents are spoiled by rounding" in line for line in found.warnings)
    with pytest.raises(ds.UserError, match="iterations is 0; allowed: an integer of at least 1"):
        spectrum(tiny, x_T, 2, steps=2, iterations=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k is 0; allowed: 1 to 128"),
        ({"k": 129}, "k is 129; allowed: 1 to 128"),
        ({"x_T": torch.zeros(2, 2, 8, 8)}, r"x_T has shape \[2, 2, 8, 8\]; allowed: one state"),
        ({"x_T": torch.zeros(1, 2, 8, 8, dtype=torch.int64)}, r"x_T is a torch.int64 .*floating-point"),
        ({"x_T": torch.full((1, 2, 8, 8), math.nan)}, "x_T holds NaN or Inf"),
        ({"x_T": "noise"}, "x_T is 'noise'"),
    ],
)
def test_wrong_arguments_are_refused(tiny, change, message):
    options = {"x_T": torch.zeros(1, *tiny.shape), "k": 1} | change
    for measure in (spectrum, local_expansion):
        with pytest.raises(ds.UserError, match=message):
            measure(tiny, options["x_T"], options["k"], steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": math.nan}, "tolerance is nan; allowed: a number of at least 0"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"iterations": 1.5}, "iterations is 1.5"),
        ({"oversampling": -1}, "oversampling is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"noise": "none"}, "noise is 'none'; allowed: common, independent"),
        ({"noise_seed": None}, "noise_seed is None"),
        ({"condition": torch.zeros(1)}, r"condition is .* ds.Condition\("),
        ({"step": 1}, "step=1 needs a layer"),
    ],
)
def test_options_out_of_range_are_refused(tiny, options, message):
    with pytest.raises(ds.UserError, match=message):
        spectrum(tiny, torch.zeros(1, *tiny.shape), 1, **{"steps": 2, **options})


@pytest.mark.parametrize("measure", [spectrum, local_expansion, full_spectrum])
def test_the_name_of_a_model_is_refused(measure):
    with pytest.raises(ds.UserError, match=r"denoiser is 'mnist'.*ds.load\('mnist'\)"):
        measure("mnist", torch.zeros(1, 1, 28, 28))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 5}, "layer is 5; allowed: a string"),
        ({"layer": "conv_nowhere"}, "^layer: unknown layer"),
        ({"layer": "conv_*"}, "names [0-9]+ layers, such as conv_in"),
        ({"layer": "conv_in", "step": 2}, "step is 2; allowed: -2 to 1"),
        ({"layer": "time_embedding", "k": 129}, "k is 129; allowed: 1 to 128"),
    ],
)
def test_wrong_layers_are_refused(tiny, options, message):
    with pytest.raises(ds.UserError, match=message):
        spectrum(tiny, torch.zeros(1, *tiny.shape), **{"k": 1, "steps": 2} | options)


def test_progress_counts_iterations_up_to_the_allowed_number():
    reported = []
    found = spectrum(
        gaussian((9.0, 4.0, 1.0, 0.25, 0.1, 0.01)),
        torch.zeros(1, 1, 1, 6),
        k=1,
        oversampling=1,
        steps=5,
        iterations=30,
        checkpoint=Checkpoint(progress=lambda *pieces: reported.append(pieces)),
    )
    assert 1 < found.iterations < 30
    assert reported == [(done, 30) for done in range(1, found.iterations + 1)]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_a_leading_direction_almost_orthogonal_to_the_block_is_found(seed):
    # One eigenvalue is 1.3, all others are 1: a block of 5 of 64 directions contains a thirteenth of the leading one.
    eigenvalues = torch.ones(64, dtype=torch.float64)
    eigenvalues[0] = 1.3
    denoiser, x_T = gaussian(tuple(eigenvalues.tolist())), some(64)
    expected = np.log(ddim_factors(1.3, 10)).sum()
    assert spectrum(denoiser, x_T, 1, steps=10, seed=seed).exponents[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_exponents_without_gaps_are_right_or_give_a_warning(seed):
    variances, x_T = np.linspace(2, 1, 200), some(200)
    denoiser = gaussian(tuple(variances))
    expected = np.log([ddim_factors(value, 4).prod() for value in variances[:4]])
    found = spectrum(denoiser, x_T, 4, steps=4, seed=seed)
    allowed = 1e-3 if not found.warnings else 4e-3
    assert (found.exponents <= expected + 1e-9).all()
    np.testing.assert_allclose(found.exponents, expected, atol=allowed)
