"""Exponents of the denoising map: closed forms through diffusers' schedulers, and plain autograd on real networks."""

import itertools
import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, ddpm_factor, denoiser_of, gaussian, levels, scheduler_of, timesteps
from plain_jacobian import plain_jacobian

import denoscope as ds
from denoscope.dynamics.known.analytic_models import TwoGaussians, embedded, henon
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.graded_svd import graded_svd
from denoscope.dynamics.sensitivity.local_expansion import local_expansion
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.models.conditioning import Condition

EIGENVALUES = (3.0, 1.0, 0.3, 0.01)
# Published to ten digits.
TABLE = {
    ("ddim", 10): (1.4847272576, 0.8316958768),
    ("ddim", 50): (1.6796220133, 0.9640792715),
    ("ddim", 1000): (1.7292981858, 0.9981242940),
    ("ddpm", 50): (0.0230480405, 0.00768358729),
}


def some(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, 1, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(width: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=draws)).Q


@pytest.mark.parametrize(("kind", "steps"), TABLE)
def test_gaussian_data_have_the_singular_values_of_the_table(kind, steps):
    denoiser = gaussian((3.0, 1.0), kind)
    for found in (spectrum(denoiser, some(2), 2, steps=steps), full_spectrum(denoiser, some(2), steps=steps)):
        np.testing.assert_allclose(np.exp(found.exponents), TABLE[kind, steps], rtol=1e-9)
        assert not found.warnings


@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_the_vectors_are_the_eigenvectors_of_the_covariance(kind):
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
            assert vector.flatten() @ found.left[index].flatten() > 0  # the map turns nothing round
    assert leading.residuals.max() < 1e-5


def test_on_the_boundary_between_two_gaussians_the_exponent_is_huge():
    """|m| = 3, s² = 0.04, 50 steps: 26.9569954 along m, −1.7361045 across, on a perfectly straight boundary."""
    mean, scheduler = torch.tensor([3.0, 0.0, 0.0]), scheduler_of("ddim")
    denoiser = denoiser_of(TwoGaussians(mean, 0.04, scheduler), scheduler, 3)
    on_boundary = torch.tensor([0.0, 0.7, -0.2]).double().reshape(1, 1, 1, 3)
    for found in (
        spectrum(denoiser, on_boundary, 3, steps=50),
        full_spectrum(denoiser, on_boundary, steps=50),
    ):
        np.testing.assert_allclose(found.exponents, [26.9569954, -1.7361045, -1.7361045], atol=2e-7)
        assert abs(found.right[0].flatten()[0]) == pytest.approx(1)


def test_ancestral_sampling_forgets_the_noise_where_ddim_keeps_it():
    ddim, ddpm = (spectrum(gaussian(EIGENVALUES, kind), some(4), 1, steps=50) for kind in ("ddim", "ddpm"))
    assert math.exp(ddim.exponents[0]) / math.exp(ddpm.exponents[0]) > 70


@pytest.fixture(scope="module")
def exact(make_unet, make_scheduler):
    return ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")


def test_on_a_real_network_all_agree_with_the_plain_jacobian(exact):
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    jacobian = plain_jacobian(exact, x_T, 4)
    expected = torch.linalg.svdvals(jacobian).log().numpy()
    leading = spectrum(exact, x_T, 4, steps=4, oversampling=20, tolerance=1e-9)
    every = full_spectrum(exact, x_T, steps=4)
    np.testing.assert_allclose(leading.exponents, expected[:4], atol=1e-8)
    np.testing.assert_allclose(every.exponents, expected, atol=1e-8)
    assert every.log_det == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet), abs=1e-8)
    moved = jacobian @ every.right.flatten(1).T
    np.testing.assert_allclose(moved.T, np.exp(expected)[:, None] * every.left.flatten(1).numpy(), atol=1e-9)


def test_a_layer_s_state_has_a_spectrum_of_its_own():
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


@pytest.mark.parametrize("layer", ["conv_in", "mid_block"])
def test_the_derivative_of_a_layer_s_state_is_the_plain_jacobian_s(exact, layer):
    x_T, scheduler = (
        ds.noise.random(1, exact.shape, seed=1).batch([0]).double(),
        exact.new_scheduler(4, dtype=torch.float64),
    )
    read = []

    def state(flat):
        x = flat.reshape(1, *exact.shape)
        x = scheduler.step(
            exact.network(x, scheduler.timesteps[0]).sample, scheduler.timesteps[0], x
        ).prev_sample
        handle = exact.network.get_submodule(layer).register_forward_hook(lambda *told: read.append(told[2]))
        exact.network(x, scheduler.timesteps[1])
        handle.remove()
        return read.pop().flatten()

    jacobian = torch.autograd.functional.jacobian(state, x_T.flatten())
    found = spectrum(exact, x_T, 3, steps=4, layer=layer, step=1, oversampling=20, tolerance=1e-9)
    np.testing.assert_allclose(found.exponents, torch.linalg.svdvals(jacobian).log()[:3], atol=1e-8)
    assert found.left.shape[0] == 3 and found.left[0].numel() == len(jacobian)
    moved = jacobian @ found.right.flatten(1).T
    np.testing.assert_allclose(
        moved.T, np.exp(found.exponents)[:, None] * found.left.flatten(1).numpy(), atol=1e-8
    )


def test_central_differences_agree_where_the_map_is_smooth_and_tell_where_it_is_not(exact):
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    for options in ({}, {"layer": "mid_block", "step": 2}):
        found = spectrum(exact, x_T, 3, steps=4, differences=True, **options)
        assert (
            found.difference_errors.shape == (3,)
            and found.difference_errors.max() < 1e-6
            and not found.warnings
        )
    assert spectrum(exact, x_T, 1, steps=4).difference_errors is None

    class Kinked(torch.nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x.relu()

    kinked = denoiser_of(Kinked(), scheduler_of("ddim"), 1)
    found = spectrum(kinked, torch.zeros(1, 1, 1, 1), 1, steps=1, differences=True)
    assert "central differences lie up to" in found.warnings[-1]


def test_the_leading_values_of_a_finite_map_are_not_the_sums_of_one_pass_of_qr(exact):
    """The sum over a whole frame is ln|det|; that of a leading part is another number."""
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    size = math.prod(exact.shape)
    whole = local_expansion(exact, x_T, size, steps=4)
    assert whole.rates.shape == (4, size)
    assert whole.rates.sum() == pytest.approx(full_spectrum(exact, x_T, steps=4).log_det, abs=1e-8)
    few = local_expansion(exact, x_T, 2, steps=4)
    assert few.rates.sum(0)[0] < spectrum(exact, x_T, 1, steps=4).exponents[0] - 0.05


def test_gaussian_steps_stretch_by_their_own_factors():
    rates = local_expansion(gaussian((2.0, 2.0)), some(2), 2, steps=10).rates
    np.testing.assert_allclose(rates, np.log(ddim_factors(2.0, 10))[:, None].repeat(2, 1), rtol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_graded_products_keep_every_digit(seed):
    """Against the same product in 200 digits."""
    mp = pytest.importorskip("mpmath")
    n, draws = 6, torch.Generator().manual_seed(seed)
    product, frame, triangle = mp.eye(n), torch.eye(n).double(), torch.eye(n).double()
    with mp.workdps(200):
        for _ in range(40):
            factor = torch.randn(n, n, dtype=torch.float64, generator=draws) @ torch.diag(
                10.0 ** -torch.arange(n).double()
            )
            product = mp.matrix(factor.tolist()) * product
            frame, upper = torch.linalg.qr(factor @ frame)
            triangle = upper @ triangle
        expected = [float(mp.log(value)) for value in mp.svd_r(product, compute_uv=False)]
    left, values, right = graded_svd(triangle)
    np.testing.assert_allclose(values.log(), expected, atol=1e-11)
    assert expected[0] - expected[-1] > 200  # an SVD that is right relative to the largest knows 36 of them
    for q in (left, right):
        np.testing.assert_allclose(q.T @ q, np.eye(n), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_an_svd_of_any_square_matrix(n):
    matrix = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    left, values, right = graded_svd(matrix)
    np.testing.assert_allclose(values, torch.linalg.svdvals(matrix), rtol=1e-12)
    np.testing.assert_allclose(left @ torch.diag(values) @ right.T, matrix, atol=1e-13)


def test_an_svd_of_a_singular_matrix_has_a_zero():
    _, values, _ = graded_svd(torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(values, [5, 0, 0], atol=1e-15)


def test_an_orbit_that_escapes_has_no_exponents():
    escaping, x_T = embedded(henon, 50, (2, 1, 1)), torch.full((1, 2, 1, 1), 2.0)
    for measure in (
        lambda: spectrum(escaping, x_T, 1, steps=50),
        lambda: full_spectrum(escaping, x_T, steps=50),
    ):
        with pytest.raises(ds.UserError, match="a derivative of Embedded is not finite"):
            measure()


def test_what_was_computed_is_told(exact):
    found = spectrum(exact, torch.zeros(1, *exact.shape), 2, steps=2, seed=5)
    told = found.to_dict()
    assert told["origin"]["fingerprint"]["num_steps"] == 2 and told["origin"]["seed"] == 5
    assert len(told["exponents"]) == 2 and "left" not in told and found.to_json()
    again = spectrum(exact, torch.zeros(1, *exact.shape), 2, steps=2, seed=5)
    assert again.exponents.tobytes() == found.exponents.tobytes()


def test_a_full_spectrum_is_gone_on_with_where_it_was_left(exact, tmp_path):
    x_T, out = ds.noise.random(1, exact.shape, seed=1).batch([0]), tmp_path / "product.npz"
    whole = full_spectrum(exact, x_T, steps=3)

    def stop(finished, total):
        assert total == 3
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full_spectrum(exact, x_T, steps=3, checkpoint=Checkpoint(out, progress=stop))
    told = []
    found = full_spectrum(
        exact,
        x_T,
        steps=3,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: told.append(counts)),
    )
    assert told == [(3, 3)]
    assert found.exponents.tobytes() == whole.exponents.tobytes() and found.log_det == whole.log_det
    with pytest.raises(ds.UserError, match="differs in x_T: "):
        full_spectrum(exact, -x_T, steps=3, checkpoint=Checkpoint(out, resume=True))


def same_bits(one, other) -> None:
    """All numbers of two results, and all that is told of them."""
    assert one.exponents.tobytes() == other.exponents.tobytes()
    assert one.residuals.tobytes() == other.residuals.tobytes()
    assert torch.equal(one.left, other.left) and torch.equal(one.right, other.right)
    assert one.left.dtype == other.left.dtype and one.right.dtype == other.right.dtype
    assert one.to_dict() == other.to_dict()


def killed_after(count: int, out, measure) -> None:
    def stop(finished, _most):
        if finished == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(checkpoint=Checkpoint(out, progress=stop))


@pytest.fixture
def saves_always(monkeypatch):
    """Every iteration is written, however little time it took."""
    monkeypatch.setattr(checkpoint, "SHARE", math.inf)


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {"k": 2}),
        ("float64", {"k": 2, "differences": True}),
        ("bfloat16", {"k": 1}),
        ("float32", {"k": 2, "layer": "mid_block", "step": 1}),
        ("float32", {"k": 2, "noise": "independent", "name": "other"}),
    ],
)
def test_a_spectrum_is_gone_on_with_to_the_same_bits(make_unet, make_scheduler, tmp_path, dtype, options):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddpm"), dtype=dtype, device="cpu")
    x_T, out = ds.noise.random(1, denoiser.shape, seed=1).batch([0]), tmp_path / "block.npz"

    def measure(**further):
        return spectrum(denoiser, x_T, **options | {"steps": 2, "iterations": 4, "tolerance": 0.0} | further)

    whole = measure()
    killed_after(2, out, measure)
    left = checkpoint.read(out)
    assert int(left["iterations"]) == 2 and np.isfinite(left["exponents"]).all()
    told = []
    same_bits(
        measure(checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: told.append(counts))), whole
    )
    assert told == [(3, 4), (4, 4)]

    def nothing(*_):
        pytest.fail("what is finished is computed again")

    before = dict(checkpoint.read(out).variables)
    same_bits(measure(checkpoint=Checkpoint(out, resume=True, progress=nothing)), whole)
    assert all(
        np.array_equal(before[name], values) for name, values in checkpoint.read(out).variables.items()
    )


def test_a_finished_spectrum_takes_no_call_of_the_map_but_what_is_asked_for_anew(
    exact, tmp_path, monkeypatch
):
    from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap

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


@pytest.mark.usefixtures("saves_always")
def test_a_spectrum_that_is_another_work_or_damaged_is_not_gone_on_with(tiny, tmp_path):
    x_T, out = ds.noise.random(1, tiny.shape, seed=1).batch([0]), tmp_path / "block.npz"
    options = {"x_T": x_T, "k": 2, "steps": 2}
    killed_after(1, out, lambda **further: spectrum(tiny, **options, **further))
    before = out.read_bytes()
    for change, told in (
        ({"x_T": -x_T}, "differs in x_T: "),
        ({"k": 3}, "differs in k: 2 → 3; block: 6 → 7; name another"),
        ({"steps": 3}, "differs in num_steps: 2 → 3"),
        ({"seed": 1}, "differs in seed: 0 → 1"),
        ({"tolerance": 0.1}, "differs in tolerance: 0.001 → 0.1"),
        ({"iterations": 30}, "differs in iterations: 20 → 30"),
        ({"oversampling": 5}, "differs in block: 6 → 7"),
        ({"layer": "conv_in"}, "differs in layer: None → conv_in; step: None → 1"),
        ({"noise": "independent"}, "differs in noise: common → independent; sample: None → sample_0000"),
        ({"noise_seed": 5}, "differs in noise_seed: 42 → 5"),
    ):
        with pytest.raises(ds.UserError, match=told):
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


def test_what_a_sample_is_told_decides_what_can_be_gone_on_with(make_unet, make_scheduler, tmp_path):
    network = make_unet(num_class_embeds=3)
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")
    x_T, plane = torch.zeros(1, *denoiser.shape), ds.noise.plane((2, 2), denoiser.shape)
    one, other = (Condition({"class_labels": torch.tensor([label])}) for label in (0, 1))
    for number, measure in enumerate(
        (
            lambda **further: spectrum(denoiser, x_T, 1, steps=1, **further),
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


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        # Fewer numbers than the block has directions.
        (torch.diag(torch.tensor([3.0, 0.5]))[:, [0, 1, 1, 1, 1, 1]].double(), (3.0, 0.5 * math.sqrt(5))),
        # A direction that is lost altogether stands still.
        (torch.diag(torch.tensor([2.0, 0, 0, 0, 0, 0])).double(), (2.0, 0.0)),
    ],
)
def test_a_layer_that_loses_directions_has_the_singular_values_of_its_matrix(weight, expected):
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


def test_too_few_iterations_and_too_few_digits_are_warned_of(tiny):
    x_T = ds.noise.random(1, tiny.shape).batch([0])
    (warning,) = spectrum(tiny, x_T, 2, steps=2, iterations=1, oversampling=0).warnings
    assert "after 1 iterations" in warning
    single = denoiser_of(gaussian((1.0, 1e-16)).network, scheduler_of("ddpm"), 2, "float32")
    found = full_spectrum(single, some(2).float(), steps=50)
    assert any("1 of 2 exponents lie more than 16 below" in line for line in found.warnings)
    with pytest.raises(ds.UserError, match="iterations is 0; allowed: an integer of at least 1"):
        spectrum(tiny, x_T, 2, steps=2, iterations=0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"k": 0}, "k is 0; allowed: 1 to 128"),
        ({"k": 129}, "k is 129; allowed: 1 to 128"),
        ({"x_T": torch.zeros(2, 2, 8, 8)}, r"x_T has shape \[2, 2, 8, 8\]; allowed: one state"),
        (
            {"x_T": torch.zeros(1, 2, 8, 8, dtype=torch.int64)},
            r"x_T is a torch.int64 tensor .*floating-point",
        ),
        ({"x_T": torch.full((1, 2, 8, 8), math.nan)}, "x_T holds NaN or Inf"),
        ({"x_T": "noise"}, "x_T is 'noise'"),
    ],
)
def test_what_has_no_spectrum_is_refused(tiny, change, told):
    options = {"x_T": torch.zeros(1, *tiny.shape), "k": 1} | change
    for measure in (spectrum, local_expansion):
        with pytest.raises(ds.UserError, match=told):
            measure(tiny, options["x_T"], options["k"], steps=2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tolerance": math.nan}, "tolerance is nan; allowed: a number of at least 0"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"iterations": 1.5}, "iterations is 1.5"),
        ({"oversampling": -1}, "oversampling is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"noise": "none"}, "noise is 'none'; allowed: common, independent"),
        ({"noise_seed": None}, "noise_seed is None"),
        ({"condition": torch.zeros(1)}, "condition is .* needed is a Condition"),
        ({"step": 1}, "step is 1, and no layer is named; name one"),
    ],
)
def test_options_that_are_none_are_refused(tiny, options, told):
    with pytest.raises(ds.UserError, match=told):
        spectrum(tiny, torch.zeros(1, *tiny.shape), 1, **{"steps": 2, **options})


@pytest.mark.parametrize("measure", [spectrum, local_expansion, full_spectrum])
def test_the_name_of_a_model_is_no_denoiser(measure):
    with pytest.raises(
        ds.UserError, match=r"denoiser is 'mnist'; needed is one that is loaded: ds.load\('mnist'\)"
    ):
        measure("mnist", torch.zeros(1, 1, 28, 28))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layer": 5}, "layer is 5; needed is the query of one layer"),
        ({"layer": "conv_nowhere"}, "unknown layer"),
        ({"layer": "conv_*"}, "names [0-9]+ layers, conv_in among them; name one"),
        ({"layer": "conv_in", "step": 2}, "step is 2; allowed: -2 to 1, counted from the end below 0"),
        ({"layer": "time_embedding", "k": 129}, "k is 129; allowed: 1 to 128"),
    ],
)
def test_a_layer_that_is_none_is_refused(tiny, options, told):
    with pytest.raises(ds.UserError, match=told):
        spectrum(tiny, torch.zeros(1, *tiny.shape), **{"k": 1, "steps": 2} | options)


# Of arrays that a scheduler of diffusers makes of tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")
def test_schedulers_with_a_memory_have_a_spectrum_but_no_steps_of_their_own(make_unet):
    from diffusers import DPMSolverMultistepScheduler

    denoiser = ds.load(make_unet(), scheduler=DPMSolverMultistepScheduler(), dtype="float64", device="cpu")
    x_T = ds.noise.random(1, denoiser.shape, seed=1).batch([0]).double()
    found = spectrum(denoiser, x_T, 1, steps=4)
    along, h = found.right, 1e-4
    above, below = (ds.sample(denoiser, x_T + sign * h * along, steps=4) for sign in (1, -1))
    grown = float((above - below).norm() / (2 * h))
    assert math.log(grown) == pytest.approx(found.exponents[0], abs=2e-3)
    for measure in (full_spectrum, local_expansion):
        with pytest.raises(ds.UserError, match="remembers earlier steps"):
            measure(denoiser, x_T, steps=4)


def test_a_derivative_that_is_not_finite_is_refused(make_scheduler):
    class Root(torch.nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x.abs().sqrt()

    denoiser = ds.load(Root(), scheduler=make_scheduler("ddim"), shape=(1, 1, 2), device="cpu")
    with pytest.raises(ds.UserError, match="is not finite along this trajectory"):
        spectrum(denoiser, torch.zeros(1, 1, 1, 2), 1, steps=2)


def test_forward_backward_and_differences_agree(exact):
    """JVP against central differences to better than 1e-4, and the JVP's transpose is the VJP."""
    from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
    from denoscope.sampling.settings import Loop

    flow = DenoisingMap(exact, Loop(steps=4, lanes=4))
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    v, u = (ds.noise.random(3, exact.shape, seed=seed).batch(range(3)).double() for seed in (2, 3))
    pushed, pulled, h = flow.push(x_T, v), flow.pull(x_T, u), 1e-5
    above, below = (ds.sample(exact, x_T + sign * h * v, steps=4, lanes=4) for sign in (1, -1))
    difference = (above - below) / (2 * h)
    assert ((pushed - difference).norm() / difference.norm()).item() < 1e-8
    for one, other in itertools.product(range(3), repeat=2):
        assert float((u[one] * pushed[other]).sum()) == pytest.approx(
            float((pulled[one] * v[other]).sum()), rel=1e-9
        )


def test_iterations_are_told_of_the_most_that_are_allowed():
    told = []
    found = spectrum(
        gaussian((9.0, 4.0, 1.0, 0.25, 0.1, 0.01)),
        torch.zeros(1, 1, 1, 6),
        k=1,
        oversampling=1,
        steps=5,
        iterations=30,
        checkpoint=Checkpoint(progress=lambda *pieces: told.append(pieces)),
    )
    assert 1 < found.iterations < 30
    assert told == [(done, 30) for done in range(1, found.iterations + 1)]


@pytest.mark.parametrize("seed", range(4))
def test_a_leading_direction_that_the_block_hardly_holds_is_found(seed):
    # One eigenvalue of 1.3 among ones: of 64 directions a block of five holds a thirteenth of the leading one.
    eigenvalues = torch.ones(64, dtype=torch.float64)
    eigenvalues[0] = 1.3
    denoiser, x_T = gaussian(tuple(eigenvalues.tolist())), some(64)
    expected = full_spectrum(denoiser, x_T, steps=10).exponents[0]
    assert spectrum(denoiser, x_T, 1, steps=10, seed=seed).exponents[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_values_without_gaps_are_right_or_warned_of(seed):
    denoiser, x_T = gaussian(tuple(np.linspace(3, 1, 400))), some(400)
    expected = full_spectrum(denoiser, x_T, steps=4).exponents[:4]
    found = spectrum(denoiser, x_T, 4, steps=4, seed=seed)
    allowed = 1e-3 if not found.warnings else 4e-3
    assert (found.exponents <= expected + 1e-9).all()
    np.testing.assert_allclose(found.exponents, expected, atol=allowed)


class Scaled(torch.nn.Module):
    def forward(self, x, _timestep):
        return 0.3 * x + 0.1 * x.roll(1, -1)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' Euler under NumPy 2
def test_the_first_factor_belongs_to_the_first_step():
    from diffusers import EulerDiscreteScheduler

    # A network of its input alone, whatever the level: its Jacobian does not matter here.
    denoiser = ds.load(
        Scaled(), scheduler=EulerDiscreteScheduler(), shape=(1, 1, 4), dtype="float64", device="cpu"
    )
    local = local_expansion(denoiser, some(4), 4, steps=10)
    assert local.rates.sum() == pytest.approx(full_spectrum(denoiser, some(4), steps=10).log_det, abs=1e-6)


def test_digits_far_below_the_largest_are_kept_and_no_warning_says_otherwise():
    x_T, scheduler = torch.zeros(1, 1, 1, 4, dtype=torch.float64), scheduler_of("ddim")

    def between(distance):
        network = TwoGaussians(torch.tensor([distance, 0.0, 0.0, 0.0]), 0.04, scheduler)
        return denoiser_of(network, scheduler, 4)

    full, found = full_spectrum(between(3.0), x_T, steps=50), spectrum(between(3.0), x_T, 4, steps=50)
    assert full.exponents == pytest.approx([26.9569954, *[-1.7361045] * 3], abs=1e-7)
    np.testing.assert_allclose(found.exponents, full.exponents, atol=1e-6)
    # Further apart still they lie more than the digits of float64 below, which costs the product of steps none.
    assert not full_spectrum(between(5.0), x_T, steps=50).warnings
    (warning,) = spectrum(between(5.0), x_T, 4, steps=50).warnings
    assert "where float64 has only rounding; full_spectrum keeps their digits" in warning
