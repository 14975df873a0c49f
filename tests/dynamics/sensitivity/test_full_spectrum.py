"""All exponents: closed forms through diffusers' schedulers, and a plain Jacobian of a U-Net."""

import numpy as np
import pytest
import torch
from analytic import denoiser_of, scheduler_of

import denoscope as ds
from denoscope.dynamics.known.analytic_models import TwoGaussians
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.foundation.checkpoint import Checkpoint


def test_exponents_far_below_the_largest_keep_their_digits():
    """On the straight boundary of two Gaussians with s² = 0.04 the first exponent is huge: 26.9569954 for |m| = 3."""
    x_T, scheduler = torch.tensor([0.0, 0.7, -0.2]).double().reshape(1, 1, 1, 3), scheduler_of("ddim")

    def between(distance):
        network = TwoGaussians(torch.tensor([distance, 0.0, 0.0]), 0.04, scheduler)
        return denoiser_of(network, scheduler, 3)

    full, found = full_spectrum(between(3.0), x_T, steps=50), spectrum(between(3.0), x_T, 3, steps=50)
    assert full.exponents == pytest.approx([26.9569954, *[-1.7361045] * 2], abs=1e-7)
    np.testing.assert_allclose(found.exponents, full.exponents, atol=2e-7)
    for one in (full, found):
        assert abs(one.right[0].flatten()[0]) == pytest.approx(1)
    # Even further apart, exponents are below the precision of float64, which does not affect the product of steps.
    assert not full_spectrum(between(5.0), x_T, steps=50).warnings
    (warning,) = spectrum(between(5.0), x_T, 3, steps=50).warnings
    assert "full_spectrum" in warning


@pytest.mark.usefixtures("save_every_piece")
def test_an_interrupted_full_spectrum_is_resumed(exact, tmp_path):
    x_T, out = ds.noise.random(1, exact.shape, seed=1).batch([0]), tmp_path / "product.npz"
    whole = full_spectrum(exact, x_T, steps=3)

    def stop(done, total):
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full_spectrum(exact, x_T, steps=3, checkpoint=Checkpoint(out, progress=stop))
    reported = []
    found = full_spectrum(
        exact,
        x_T,
        steps=3,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: reported.append(counts)),
    )
    assert reported == [(3, 3)]
    assert found.exponents.tobytes() == whole.exponents.tobytes() and found.log_det == whole.log_det
    with pytest.raises(ds.UserError, match="differs in x_T: "):
        full_spectrum(exact, -x_T, steps=3, checkpoint=Checkpoint(out, resume=True))
