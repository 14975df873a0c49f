"""Conditions and guidance against diffusers' own pipelines, bit for bit, and against loops written out."""

import copy
import dataclasses
import re

import numpy as np
import pytest
import tiny_models
import torch
import xarray
from diffusers import DDIMScheduler
from safetensors.torch import save_file

import denoscope as ds
from denoscope.cli.command import main
from denoscope.models import conditioning
from denoscope.models.conditioning import Condition, of_labels

# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 3


@pytest.fixture(scope="module")
def stable_diffusion():
    return tiny_models.PIPELINES["stable_diffusion"]()


def halves(arguments):
    return (
        {"encoder_hidden_states": arguments["prompt_embeds"]},
        {"encoder_hidden_states": arguments["negative_prompt_embeds"]},
    )


def guided(arguments, scale=5.0):
    return Condition(*halves(arguments), scale)


def x_T_of(pipe, count):
    denoiser = ds.load(pipe, device="cpu")
    return denoiser, ds.noise.random(count, denoiser.shape, seed=1).batch(range(count))


def in_pipeline(pipe, x_T, arguments):
    """The latents that the pipeline itself makes of x_T."""
    with torch.no_grad():
        return pipe(**copy.deepcopy(arguments), latents=x_T.clone()).images


@pytest.mark.parametrize(
    "scheduler",
    [
        "PNDMScheduler",
        "HeunDiscreteScheduler",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("DDIMScheduler", "EulerDiscreteScheduler")),
    ],
)
def test_guidance_is_that_of_the_stable_diffusion_pipeline_bit_for_bit(stable_diffusion, scheduler):
    import diffusers

    pipe, arguments = stable_diffusion
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    denoiser, x_T = x_T_of(pipe, tiny_models.SAMPLES)
    truth = in_pipeline(pipe, x_T, arguments)
    options = dict(steps=arguments["num_inference_steps"], lanes=len(x_T))
    assert torch.equal(ds.sample(denoiser, x_T, condition=guided(arguments), **options), truth)
    unguided = ds.sample(denoiser, x_T, condition=Condition(halves(arguments)[0]), **options)
    assert not torch.equal(unguided, truth)


def test_prompts_and_sizes_of_sdxl_go_in_as_its_pipeline_gives_them():
    pipe, arguments = tiny_models.PIPELINES["stable_diffusion_xl"]()
    denoiser, x_T = x_T_of(pipe, tiny_models.SAMPLES)
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda _m, _a, kwargs: seen.append(kwargs), with_kwargs=True)
    truth = in_pipeline(pipe, x_T, arguments)
    handle.remove()
    sizes = seen[0]["added_cond_kwargs"]["time_ids"].chunk(2)
    cond, uncond = halves(arguments)
    cond |= {"added_cond_kwargs": {"text_embeds": arguments["pooled_prompt_embeds"], "time_ids": sizes[1]}}
    uncond |= {
        "added_cond_kwargs": {"text_embeds": arguments["negative_pooled_prompt_embeds"], "time_ids": sizes[0]}
    }
    condition = Condition(cond, uncond, 5.0)
    found = ds.sample(
        denoiser, x_T, steps=arguments["num_inference_steps"], lanes=len(x_T), condition=condition
    )
    assert torch.equal(found, truth)


@pytest.mark.parametrize(
    "name", ["stable_diffusion_3", "pixart_sigma", pytest.param("pixart_alpha", marks=pytest.mark.slow)]
)
def test_prompts_of_transformers_are_guided_as_their_pipelines_do(name):
    pipe, arguments = tiny_models.PIPELINES[name]()
    latents = torch.randn(tiny_models.SAMPLES, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    seen = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs), with_kwargs=True
    )
    truth = in_pipeline(pipe, latents, arguments)
    handle.remove()
    inputs = {
        key: value
        for key, value in seen[0].items()
        if key.startswith(("encoder", "pooled", "added")) and value is not None
    }

    def half(inputs, place):
        return {
            key: half(value, place) if isinstance(value, dict) else value.chunk(2)[place]
            for key, value in inputs.items()
            if value is not None
        }

    uncond, cond = half(inputs, 0), half(inputs, 1)
    denoiser = ds.load(pipe, device="cpu", shape=(4, 8, 8))
    options = dict(steps=arguments["num_inference_steps"], lanes=len(latents))
    condition = Condition(cond, uncond, arguments["guidance_scale"])
    assert torch.equal(ds.sample(denoiser, latents, condition=condition, **options), truth)


def test_labels_of_dit_are_guided_as_its_pipeline_does():
    pipe, arguments = tiny_models.PIPELINES["dit"]()
    denoiser = ds.load(pipe, device="cpu")
    stepped, plain = [], pipe.scheduler.step

    def step(output, t, x):
        stepped.append((x, plain(output, t, x)))
        return stepped[-1][1]

    pipe.scheduler.step = step
    with torch.no_grad():
        pipe(**copy.deepcopy(arguments))
    del pipe.scheduler.step
    n = len(arguments["class_labels"])
    x_T, truth = stepped[0][0][:n], stepped[-1][1].prev_sample[:n]
    condition = denoiser.condition_of_labels(arguments["class_labels"], scale=arguments["guidance_scale"])
    found = ds.sample(denoiser, x_T, steps=len(stepped), lanes=n, condition=condition)
    assert torch.equal(found, truth)


def test_both_branches_and_both_calls_are_what_hand_made_hooks_see(stable_diffusion, tmp_path):
    import diffusers

    pipe, arguments = stable_diffusion
    pipe.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    denoiser = ds.load(pipe, device="cpu")
    x = ds.noise.random(2, denoiser.shape, seed=1)
    seen = []
    handle = pipe.unet.mid_block.register_forward_hook(lambda _m, _a, output: seen.append(output.clone()))
    latents = in_pipeline(pipe, x.batch(range(2)), arguments)
    handle.remove()
    steps = arguments["num_inference_steps"]
    rec = ds.record(
        denoiser, x, tmp_path / "run.zarr", steps=steps, layers=["mid_block", "conv_in:in"], lanes=2,
        condition=guided(arguments),
    )  # fmt: skip
    state = rec.states["mid_block"]
    assert state.dims == ("sample", "step", "call", "branch", "channel", "height", "width")
    assert state.branch.values.tolist() == ["uncond", "cond"] and len(seen) == 2 * steps - 1
    for number, output in enumerate(seen):
        step, call = divmod(number, 2)
        for half, branch in enumerate(("uncond", "cond")):
            stored = state.sel(branch=branch).isel(step=step, call=call).to_numpy()
            assert np.array_equal(stored, output.chunk(2)[half].numpy())
    assert np.isnan(state.isel(step=-1, call=1)).all(), "Heun's last step has one call"
    assert not rec.dataset.nonfinite.any(), "a call that is not made is not a fault"
    assert np.array_equal(rec.final, latents.numpy()) and rec.sequence.sizes["state"] == steps + 1
    plain = xarray.open_zarr(tmp_path / "run.zarr", chunks=None)
    assert plain["mid_block"].dims[:4] == ("sample", "step", "mid_block.call", "branch")
    assert plain.branch.values.tolist() == ["uncond", "cond"]


@pytest.mark.parametrize("kind", ["zarr", "pt"])
def test_guided_recordings_of_either_kind_have_the_same_bits_at_any_batch_size(
    stable_diffusion, tmp_path, kind
):
    pipe, arguments = stable_diffusion
    denoiser = ds.load(pipe, scheduler="ddim", device="cpu")
    x = ds.noise.random(3, denoiser.shape, seed=1)
    cond = {"encoder_hidden_states": torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))}
    uncond = {"encoder_hidden_states": arguments["negative_prompt_embeds"][:1]}
    options = dict(
        steps=2, layers=["mid_block", "**.attn2:probs"], lanes=2, condition=Condition(cond, uncond, 3.0)
    )
    one = ds.record(denoiser, x, tmp_path / f"one.{kind}", batch_size=2, output_format=kind, **options)
    all_ = ds.record(denoiser, x, batch_size=6, **options)
    for name, state in one.states.items():
        assert state.dims[:3] == ("sample", "step", "branch")
        assert np.array_equal(state, all_.states[name]), name
    assert np.array_equal(one.sequence, all_.sequence)
    with pytest.raises(ds.UserError, match=r"guidance_scale: 3\.0 → 2\.0"):
        ds.record(
            denoiser, x, tmp_path / f"one.{kind}", output_format=kind, resume=True,
            **options | {"condition": Condition(cond, uncond, 2.0)},
        )  # fmt: skip
    other = {"encoder_hidden_states": cond["encoder_hidden_states"] + 1}
    with pytest.raises(ds.UserError, match="the inputs"):
        ds.record(
            denoiser, x, tmp_path / f"one.{kind}", output_format=kind, resume=True,
            **options | {"condition": Condition(other, uncond, 3.0)},
        )  # fmt: skip


def test_each_sample_gets_its_own_label(tmp_path):
    network = tiny_models.unet(num_class_embeds=4).eval()
    denoiser = ds.load(network, scheduler="ddim", device="cpu")
    x = ds.noise.random(3, denoiser.shape, seed=0)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, lanes=4, labels=(3, 0, 2))
    assert rec.dataset.class_label.values.tolist() == [3, 0, 2]
    scheduler = denoiser.new_scheduler(2)
    truth = torch.cat([x.batch(range(3)), x.batch([2])])
    labels = torch.tensor([3, 0, 2, 2])
    with torch.no_grad():
        for t in scheduler.timesteps:
            truth = scheduler.step(network(truth, t, labels).sample, t, truth).prev_sample
    assert np.array_equal(rec.final, truth[:3].numpy())
    of_one_label = ds.record(denoiser, x.subset([2, 0]), steps=2, lanes=4, labels=(2,))
    assert np.array_equal(of_one_label.final[0], rec.final[2])
    assert of_one_label.dataset.class_label.values.tolist() == [2, 2]


def test_guidance_leads_away_from_the_null_class_that_the_configuration_names(tmp_path):
    network = tiny_models.unet(num_class_embeds=5).eval()
    network.register_to_config(_null_class=4)
    network.save_pretrained(tmp_path / "model")
    denoiser = ds.load(tmp_path / "model", scheduler="ddim", device="cpu")
    x, labels = ds.noise.random(2, denoiser.shape, seed=0), torch.tensor([3, 0])
    rec = ds.record(denoiser, x, steps=2, lanes=2, layers=["conv_out"], labels=(3, 0), guidance_scale=2.5)
    scheduler, truth, halves = denoiser.new_scheduler(2), x.batch(range(2)), []
    with torch.no_grad():
        for t in scheduler.timesteps:
            both = network(torch.cat([truth, truth]), t, torch.cat([torch.tensor([4, 4]), labels])).sample
            uncond, cond = both.chunk(2)
            halves.append(torch.stack([uncond, cond], 1))
            truth = scheduler.step(uncond + 2.5 * (cond - uncond), t, truth).prev_sample
    assert np.array_equal(rec.final, truth.numpy())
    state = rec["conv_out"].transpose("step", "sample", "branch", ...)
    assert np.array_equal(state, torch.stack(halves).numpy()) and list(state.branch) == ["uncond", "cond"]
    alone = ds.record(denoiser, x, steps=2, lanes=2, labels=(4,))  # the null class itself
    condition = Condition({"class_labels": torch.tensor([4])})
    assert np.array_equal(
        alone.final, ds.sample(denoiser, x.batch(range(2)), steps=2, lanes=2, condition=condition)
    )


@pytest.mark.parametrize("value", [-1, "last", 1.5])
def test_an_invalid_null_class_is_refused_with_its_file(tmp_path, value):
    network = tiny_models.unet(num_class_embeds=5)
    network.register_to_config(_null_class=value)
    network.save_pretrained(tmp_path)
    with pytest.raises(ds.UserError, match=r"config\.json.*_null_class") as caught:
        ds.load(tmp_path, scheduler="ddim")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, "last", 1.5, True, 5, 20])
def test_an_invalid_null_class_of_a_network_in_memory_is_refused_by_its_name(value):
    network = tiny_models.unet(num_class_embeds=5).eval()
    network.register_to_config(_null_class=value)
    denoiser = ds.load(network, scheduler="ddim", device="cpu")
    x = ds.noise.random(1, denoiser.shape, seed=0)
    condition = Condition({"class_labels": torch.tensor([2])})
    for options in ({"labels": (2,), "guidance_scale": 2.0}, {"labels": (2,)}, {"condition": condition}):
        with pytest.raises(ds.UserError, match=f"^_null_class is {value!r}; allowed: .*0 to 4") as caught:
            ds.record(denoiser, x, steps=1, lanes=2, **options)
        assert "\n" not in str(caught.value)


def test_samples_with_labels_are_computed_again_under_their_own(tmp_path):
    from denoscope.recording import verify

    network = tiny_models.unet(num_class_embeds=4).eval()
    network.save_pretrained(tmp_path / "model")
    DDIMScheduler().save_pretrained(tmp_path / "model")
    denoiser = ds.load(tmp_path / "model", device="cpu")
    x = ds.noise.random(3, denoiser.shape, seed=0)
    ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, lanes=4, labels=(3, 0, 2))
    report = verify.store(tmp_path / "run.zarr", recompute=2)
    assert report.sound and report.recomputed == 2
    condition = Condition({"class_labels": torch.tensor([1, 1, 1])})
    ds.record(denoiser, x, tmp_path / "other.zarr", steps=2, lanes=4, condition=condition)
    with pytest.raises(ds.UserError, match="given in Python"):
        verify.store(tmp_path / "other.zarr", recompute=2)


def test_a_condition_is_read_from_named_tensors(tmp_path):
    named = {
        "encoder_hidden_states": torch.ones(2, 3),
        "added_cond_kwargs.time_ids": torch.zeros(2, 6),
        "uncond.encoder_hidden_states": torch.zeros(1, 3),
        "uncond.added_cond_kwargs.time_ids": torch.zeros(1, 6),
    }
    save_file(named, tmp_path / "prompt.safetensors")
    found = conditioning.read(tmp_path / "prompt.safetensors", scale=2.0)
    assert (
        found.guided
        and found.scale == 2
        and set(found.inputs) == {"encoder_hidden_states", "added_cond_kwargs"}
    )
    rows = found.of([1]).rows(3, ("cond", "uncond"), torch.empty(0, dtype=torch.float64))
    assert rows["encoder_hidden_states"].tolist() == [[1.0] * 3] * 3 + [[0.0] * 3] * 3
    assert rows["added_cond_kwargs"]["time_ids"].shape == (6, 6)
    assert rows["encoder_hidden_states"].dtype == torch.float64
    assert found.digest() != conditioning.read(tmp_path / "prompt.safetensors", scale=3.0).digest()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition({"nothing_such": torch.zeros(1, 3)}), "condition.*'nothing_such'"),
        (Condition({"class_labels": torch.zeros(2)}), r"class_labels has shape \[2\] for 3 samples"),
        (Condition({"class_labels": torch.tensor(1)}), r"class_labels has shape \[\]"),
        (
            Condition({"class_labels": torch.zeros(3)}, {}, 2.0),
            "allowed: the names of the conditional ones, class_labels",
        ),
    ],
)
def test_what_does_not_fit_network_or_samples_is_refused(condition, message):
    with pytest.raises(ds.UserError, match=message):
        condition.check(3, ["class_labels"], [])


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ((4,), {"classes": 4}, "labels names class 4; allowed: 0 to 3"),
        ((0,), {"classes": None}, "takes no classes"),
        ((0,), {"classes": 4, "scale": 2.0}, "guidance_scale is 2.*no null class"),
    ],
)
def test_labels_that_there_are_not_are_refused(labels, options, message):
    with pytest.raises(ds.UserError, match=message):
        of_labels(labels, **options)


def test_a_scale_without_anything_to_guide_by_is_refused(tiny, tmp_path):
    with pytest.raises(ds.UserError, match=r"guidance_scale=2.*labels or condition"):
        ds.record(tiny, ds.noise.random(1, tiny.shape), tmp_path / "run.zarr", steps=1, guidance_scale=2.0)
    with pytest.raises(ds.UserError, match="takes no classes"):
        ds.record(tiny, ds.noise.random(1, tiny.shape), tmp_path / "run.zarr", steps=1, labels=(2,))
    assert not (tmp_path / "run.zarr").exists()


def test_a_network_without_a_needed_condition_names_it(stable_diffusion, tmp_path):
    denoiser = ds.load(stable_diffusion[0], device="cpu")
    with pytest.raises(ds.UserError, match="encoder_hidden_states"):
        ds.record(denoiser, ds.noise.random(1, denoiser.shape), tmp_path / "run.zarr", steps=2)
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 4], "condition: class_labels names class 4; allowed: 0 to 3"),
        ([-1], "condition: class_labels names class -1; allowed: 0 to 3"),
        ([1.0], r"class_labels.*torch\.float32.*integer"),
    ],
)
def test_classes_of_a_condition_that_there_are_not_are_refused(labels, message):
    denoiser = ds.load(tiny_models.unet(num_class_embeds=4).eval(), scheduler="ddim", device="cpu")
    with pytest.raises(ds.UserError, match=message):
        ds.sample(
            denoiser,
            torch.zeros(2, *denoiser.shape),
            steps=1,
            condition=Condition({"class_labels": torch.tensor(labels)}),
        )


@pytest.mark.parametrize(
    ("cond", "uncond", "message"),
    [
        (
            (1, 5, 9),
            None,
            r"this condition, encoder_hidden_states \[1, 5, 9\]: .*for example, .* \[1, 77, 8\]$",
        ),
        ((1, 5, 8), (1, 4, 8), r"\[1, 5, 8\], unconditional encoder_hidden_states \[1, 4, 8\]: "),
        ((5, 8), None, r"encoder_hidden_states has shape \[5, 8\] for 2 samples"),
    ],
)
def test_embeddings_of_other_shapes_are_refused_at_the_command_line(prompted, cond, uncond, message, capsys):
    halves = {"encoder_hidden_states": cond, "uncond.encoder_hidden_states": uncond}
    save_file({name: torch.zeros(shape) for name, shape in halves.items() if shape}, "prompt.safetensors")
    for more in ([], ["--no-extract_states"]):
        with pytest.raises(SystemExit) as stop:
            main([*prompted, *more])
        printed = capsys.readouterr().err
        assert stop.value.code == 2 and printed.count("\n") == 1 and re.search(message, printed.strip())


def test_a_condition_and_labels_at_once_are_refused(tmp_path):
    denoiser = ds.load(tiny_models.unet(num_class_embeds=4).eval(), scheduler="ddim", device="cpu")
    condition = Condition({"class_labels": torch.tensor([1])})
    for options in ({"labels": (2,)}, {"guidance_scale": 2.0}):
        with pytest.raises(ds.UserError, match=r"condition is a Condition.*labels"):
            ds.record(
                denoiser,
                ds.noise.random(1, denoiser.shape),
                tmp_path / "run.zarr",
                **{"condition": condition} | options,
            )


@pytest.fixture
def prompted(tmp_path, monkeypatch):
    """The words of a command that records under guidance, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    pipe, arguments = tiny_models.PIPELINES["stable_diffusion"]()
    pipe.unet.save_pretrained("model/unet")
    cond, uncond = (half["encoder_hidden_states"][:1] for half in halves(arguments))
    save_file({"encoder_hidden_states": cond, "uncond.encoder_hidden_states": uncond}, "prompt.safetensors")
    ds.noise.random(2, (4, 8, 8)).write("inputs")
    save_file({"encoder_hidden_states": cond}, "plain.safetensors")
    words = "record --model model --scheduler ddim --num_steps 1 --lanes 2 --layers mid_block"
    return [*words.split(), "--condition", "prompt.safetensors", "--guidance_scale", "3"]


def test_the_order_of_branches_can_be_stated_and_is_that_of_the_rows(prompted, monkeypatch):
    from diffusers import UNet2DConditionModel

    seen, forward = [], UNet2DConditionModel.forward

    def spied(self, x, timestep, encoder_hidden_states, **options):
        seen.append(encoder_hidden_states)
        return forward(self, x, timestep, encoder_hidden_states, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", spied)
    main([*prompted, "--output", "own.zarr"])
    order = seen[-1]
    main([*prompted, "--branches", "cond,uncond", "--output", "stated.zarr"])
    assert len(order) == 4 and torch.equal(seen[-1], order.roll(2, 0)) and not torch.equal(order, seen[-1])
    own, stated = (ds.open(name) for name in ("own.zarr", "stated.zarr"))
    assert own.states["mid_block"]["branch"].to_numpy().tolist() == ["uncond", "cond"]
    assert stated.states["mid_block"]["branch"].to_numpy().tolist() == ["cond", "uncond"]
    for branch in ("cond", "uncond"):
        ours, theirs = (rec.states["mid_block"].sel(branch=branch).to_numpy() for rec in (own, stated))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own.final, stated.final, rtol=1e-4, atol=1e-5)


def test_branches_are_stated_in_python_as_at_the_command_line(stable_diffusion):
    pipe, arguments = stable_diffusion
    denoiser = ds.load(pipe, scheduler="ddim", device="cpu")
    x, condition = ds.noise.random(2, denoiser.shape, seed=1), guided(arguments)
    for stated, options in (
        (dataclasses.replace(condition, branches="cond,uncond"), {}),
        (dataclasses.replace(condition, branches=("cond", "uncond")), {}),
        (condition, {"branches": "cond,uncond"}),
    ):
        rec = ds.record(denoiser, x, steps=1, layers=["mid_block"], condition=stated, **options)
        assert rec.states["mid_block"]["branch"].to_numpy().tolist() == ["cond", "uncond"]
    stated = dataclasses.replace(condition, branches="cond,uncond")
    (step,) = ds.denoise(denoiser, x.batch(range(2)), steps=1, condition=stated)
    assert step.branches == ("cond", "uncond")


def test_stated_branches_belong_to_the_recording(prompted, capsys):
    main([*prompted, "--output", "run.zarr", "--branches", "uncond,cond"])
    main([*prompted, "--output", "run.zarr", "--resume"])
    capsys.readouterr()
    unguided = [word.replace("prompt.", "plain.") for word in prompted]
    for words, match in (
        ([*prompted, "--output", "run.zarr", "--resume", "--branches", "cond,uncond"], "cannot be resumed"),
        (
            [*prompted, "--branches", "cond,other"],
            "branches is 'cond,other'; allowed: uncond,cond or cond,uncond",
        ),
        ([*unguided, "--branches", "cond,uncond"], "branches is given without guidance"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        printed = capsys.readouterr().err
        assert stop.value.code == 2 and match in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("identity", torch.linspace(-1, 1, 96).reshape(3, 32)),
        ("timestep", torch.tensor([0.5, 1.5, 2.5])),
    ],
)
def test_labels_may_be_numbers_or_vectors(make_unet, make_scheduler, by_hand, tmp_path, kind, labels):
    network, scheduler = make_unet(1, class_embed_type=kind), make_scheduler("ddim")
    denoiser, x = ds.load(network, scheduler=scheduler, device="cpu"), ds.noise.random(3, (1, 8, 8))
    condition = Condition({"class_labels": labels})
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, lanes=3, condition=condition)

    class Labelled(torch.nn.Module):
        def forward(self, x, timestep):
            return network(x, timestep, class_labels=labels)

    expected = by_hand(Labelled(), scheduler, x.batch(range(3)), steps=2, rows=3)["sequence"]
    assert torch.equal(torch.from_numpy(rec.sequence.to_numpy()), expected)
    if kind == "timestep":
        assert rec.dataset["class_label"].values.tolist() == labels.tolist()
    else:
        assert "class_label" not in rec.dataset
    with pytest.raises(ds.UserError, match="inputs, their names or their order"):
        ds.record(
            denoiser,
            x,
            tmp_path / "run.zarr",
            steps=2,
            lanes=3,
            condition=Condition({"class_labels": labels + 1}),
            resume=True,
        )
    with pytest.raises(
        ds.UserError, match=r"labels is \(0.5,\); allowed: integers of at least 0 .*condition"
    ):
        ds.record(denoiser, x, steps=2, labels=[0.5])


def test_a_condition_is_shown_in_one_line_with_the_shapes_of_its_inputs():
    prompt = {
        "encoder_hidden_states": torch.zeros(2, 77, 768),
        "added_cond_kwargs": {"time_ids": torch.zeros(2, 6)},
    }
    inputs = "encoder_hidden_states [2, 77, 768], added_cond_kwargs.time_ids [2, 6]"
    assert repr(Condition(prompt)) == f"<Condition inputs: {inputs}>"
    assert repr(Condition()) == "<Condition inputs: none>"
    both = Condition(prompt, prompt, scale=7.5, branches="cond,uncond")
    assert repr(both) == (
        f"<Condition inputs: {inputs}; unconditional: {inputs}; scale 7.5; branches cond,uncond>"
    )
    assert all(text in both._repr_html_() for text in (inputs, "unconditional", "7.5", "cond,uncond"))
