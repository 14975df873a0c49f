"""Images of latents against those that each pipeline makes itself."""

import numpy as np
import pytest
import torch
from tiny_models import PIPELINES, SAMPLES, SIZE, vae

import denoscope as ds

pytestmark = pytest.mark.filterwarnings(
    # NumPy 2's warning about how some diffusers schedulers convert tensors.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
WITH_A_SHIFT = ("stable_diffusion_3", "flux")
WITH_A_VAE = (
    "stable_diffusion",
    "stable_diffusion_xl",
    "latent_consistency",
    "dit",
    "pixart_alpha",
    "pixart_sigma",
)


def built(name):
    pipe, arguments = PIPELINES[name]()
    if name in WITH_A_SHIFT:
        pipe.vae.register_to_config(shift_factor=0.1159, scaling_factor=1.5305)
    return pipe, arguments | {"output_type": "pt"}


def size(name):
    """The arguments of a decoding that the pipeline's latents do not determine."""
    return {"height": SIZE, "width": SIZE} if name == "flux" else {}


def own_images(pipe, arguments):
    """A pipeline's result, and the output of its VAE."""
    decoder, given = pipe.vae.decode, []

    def noting(*args, **kwargs):
        found = decoder(*args, **kwargs)
        given.append(found[0] if isinstance(found, tuple) else found.sample)
        return found

    pipe.vae.decode = noting
    result = pipe(**arguments)[0]
    del pipe.vae.decode
    (decoded,) = given
    return torch.as_tensor(result), decoded


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("latent_consistency", "pixart_alpha") else ())
        for name in (*WITH_A_VAE, *WITH_A_SHIFT)
    ],
)
def test_decoded_latents_are_the_pipelines_own_images_bit_for_bit(name):
    pipe, arguments = built(name)
    with ds.watch(pipe, layers=[]) as watched:
        result, decoded = own_images(pipe, arguments)
    images = ds.decode(pipe, watched.recording.final, batch_size=SAMPLES, **size(name))
    assert images.shape == (SAMPLES, 3, SIZE, SIZE)
    assert torch.equal(images, decoded)
    assert torch.equal((images / 2 + 0.5).clamp(0, 1), result)


def test_means_and_deviations_of_latents_are_taken_where_the_vae_has_them():
    pipe, arguments = built("stable_diffusion_xl")
    pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.4], latents_std=[1.5, 0.5, 2.0, 1.0])
    _, decoded = own_images(pipe, arguments)
    pipe_again, arguments = PIPELINES["stable_diffusion_xl"]()
    latents = pipe_again(**arguments)[0]
    assert torch.equal(ds.decode(pipe, latents), decoded)


def test_packed_latents_of_wide_images_are_laid_out_as_flux_does():
    from diffusers import FluxPipeline

    pipe, _ = built("flux")
    latents = torch.randn(3, 4 * 6, 16, generator=torch.Generator().manual_seed(0))
    plain = FluxPipeline._unpack_latents(latents, 8, 12, pipe.vae_scale_factor)
    assert torch.equal(ds.decode(pipe, latents, height=8, width=12), ds.decode(pipe, plain))


def test_batches_and_kinds_of_arrays_make_no_difference_but_rounding():
    source = vae().eval()
    latents = torch.randn(5, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    whole = ds.decode(source, latents)
    assert torch.equal(ds.decode(source, latents.numpy()), whole)
    parts = [ds.decode(source, latents[k : k + 2]) for k in (0, 2, 4)]
    assert torch.equal(ds.decode(source, latents, batch_size=2), torch.cat(parts))
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)
    assert not whole.requires_grad


def test_the_decoder_is_called_with_at_most_the_given_rows(monkeypatch):
    source, rows = vae().eval(), []
    original = source.decode
    monkeypatch.setattr(source, "decode", lambda z, **rest: rows.append(len(z)) or original(z, **rest))
    ds.decode(source, np.zeros((5, 4, SIZE, SIZE), np.float32), batch_size=2)
    assert rows == [2, 2, 1]


def test_a_half_precision_vae_stays_so_and_only_sdxl_upcasts_it():
    latents = torch.zeros(1, 4, SIZE, SIZE)
    pipe, _ = PIPELINES["stable_diffusion_xl"]()
    pipe.vae.to(torch.float16)
    assert pipe.vae.config.force_upcast
    assert ds.decode(pipe, latents).dtype == torch.float32 and pipe.vae.dtype == torch.float16
    pipe, _ = PIPELINES["stable_diffusion"]()
    pipe.vae.to(torch.bfloat16)
    assert ds.decode(pipe, latents).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("latents", "options", "match"),
    [
        (torch.zeros(2, 3, 8, 8), {}, r"latents have shape \[2, 3, 8, 8\]; allowed.*\[n, 4, h, w\]"),
        (torch.zeros(4, 8), {}, r"shape \[4, 8\]"),
        (torch.zeros(0, 4, 8, 8), {}, r"shape \[0, 4, 8, 8\]"),
        (torch.zeros(2, 4, 8, 8), {"batch_size": 0}, "batch_size is 0; allowed"),
        (torch.zeros(2, 16, 16), {}, "packed.*height and width"),
        (
            torch.zeros(2, 16, 16),
            {"height": 8, "width": 12},
            "images of 8 by 12 have 24 tokens",
        ),
    ],
)
def test_latents_of_another_kind_are_refused(latents, options, match):
    with pytest.raises(ds.UserError, match=match) as caught:
        ds.decode(vae(), latents, **options)
    assert "\n" not in str(caught.value)


def test_a_pipeline_without_a_vae_is_refused():
    with pytest.raises(ds.UserError, match="DDIMPipeline, which is without a vae"):
        ds.decode(PIPELINES["ddim"]()[0], torch.zeros(1, 3, 8, 8))
