"""Calls of pipelines, watched, against plain runs with hooks made by hand."""

import copy
import functools
import inspect
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
import tiny_models
import torch
from tiny_models import PIPELINES, SAMPLES, STEPS

import denoscope as ds
from denoscope.cli.command import main
from denoscope.hooks.module_survey import first_tensor
from denoscope.models.loading import network_of
from denoscope.recording import verify
from denoscope.recording.runs.device_transfer import DeviceTransfer

pytestmark = [
    pytest.mark.filterwarnings(
        # NumPy 2's warning about how some diffusers schedulers convert tensors.
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    )
]
GUIDED, REVERSED = ("uncond", "cond"), ("cond", "uncond")
ONE_CALL = [(0, 0), (1, 0), (2, 0)]
UNET, BLOCKS = ("conv_in", "mid_block", "mid_block:in"), ("transformer_blocks.1", "transformer_blocks.1:in")


def heun(pipe):
    from diffusers import HeunDiscreteScheduler

    pipe.scheduler = HeunDiscreteScheduler(steps_offset=1)


def runge_kutta(pipe):
    from diffusers import PNDMScheduler

    pipe.scheduler = PNDMScheduler()


@dataclass
class Case:
    """A pipeline, the addresses that are read, and labels by hand of each call of its network."""

    name: str
    layers: tuple[str, ...] = UNET
    branches: tuple[str, ...] = ()
    calls: list[tuple[int, int]] = field(default_factory=lambda: ONE_CALL)
    change: object = None
    arguments: dict = field(default_factory=dict)
    packed: bool = False

    def built(self):
        pipe, arguments = PIPELINES[self.name]()
        if self.change:
            self.change(pipe)
        return pipe, arguments | self.arguments


CASES = {
    "ddpm": Case("ddpm"),
    "ddim": Case("ddim"),
    "class-conditional": Case("consistency"),
    "pndm": Case("stable_diffusion", branches=GUIDED, calls=[(0, 0), (0, 1), (1, 0), (2, 0)]),
    "runge-kutta": Case(
        "stable_diffusion",
        branches=GUIDED,
        change=runge_kutta,
        arguments={"num_inference_steps": 5},
        calls=[*((step, call) for step in range(3) for call in range(4)), (3, 0), (4, 0)],
    ),
    "heun": Case(
        "stable_diffusion", branches=GUIDED, change=heun, calls=[(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    ),
    "not guided": Case("stable_diffusion", change=heun, arguments={"guidance_scale": 1.0}, calls=[
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0)
    ]),
    "sdxl": Case("stable_diffusion_xl", branches=GUIDED),
    "lcm": Case("latent_consistency"),
    "dit": Case("dit", BLOCKS, REVERSED),
    "dit, not guided": Case("dit", BLOCKS, arguments={"guidance_scale": 1.0}),
    "pixart alpha": Case("pixart_alpha", BLOCKS, GUIDED),
    "pixart sigma": Case("pixart_sigma", BLOCKS, GUIDED),
    "sd3": Case("stable_diffusion_3", ("transformer_blocks.0[1]", "transformer_blocks.1"), GUIDED),
    "flux": Case("flux", ("x_embedder", "transformer_blocks.0[1]"), packed=True),
}  # fmt: skip


class ByHand:
    """A plain run: its result, the scheduler's arguments and results, and the states that hooks saw in each call."""

    def __init__(self, case):
        pipe, arguments = case.built()
        network, self.scheduler = network_of(pipe), pipe.scheduler
        self.states = {layer: [] for layer in case.layers}
        self.before, self.after, self.timesteps = [], [], []
        handles = [self._hook(network, layer) for layer in case.layers]
        step = pipe.scheduler.step

        def noting(model_output, timestep, sample, *args, **kwargs):
            self.timesteps.append(float(timestep))
            self.before.append(sample.clone())
            result = step(model_output, timestep, sample, *args, **kwargs)
            self.after.append(result[0].clone())
            return result

        noting.__signature__ = inspect.signature(step)
        pipe.scheduler.step = noting
        self.result = pipe(**arguments)[0]
        for handle in handles:
            handle.remove()

    def _hook(self, network, layer):
        path, element = layer.removesuffix("[1]"), 1 if layer.endswith("[1]") else None
        module = network.get_submodule(path.removesuffix(":in"))
        if path.endswith(":in"):
            return module.register_forward_pre_hook(
                lambda _m, args, kwargs: self.states[layer].append(
                    (args[0] if args else kwargs["hidden_states"]).clone()
                ),
                with_kwargs=True,
            )
        return module.register_forward_hook(
            lambda _m, _a, output: self.states[layer].append(
                (first_tensor(output) if element is None else output[element]).clone()
            )
        )

    def state(self, case, layer):
        """[sample, step, (call), (branch), …] from the calls labelled by hand."""
        steps, most = 1 + case.calls[-1][0], 1 + max(call for _, call in case.calls)
        read = self.states[layer]
        assert len(read) == len(case.calls)
        found = torch.full((steps, most, *read[0].shape), torch.nan)
        for (step, call), value in zip(case.calls, read, strict=True):
            found[step, call] = value
        if case.branches:
            found = torch.stack([found[:, :, :SAMPLES], found[:, :, SAMPLES:]], 3)
        found = found.movedim(2, 0)
        return found if most > 1 else found.squeeze(2)

    def sequence(self, case):
        """[sample, state, …]."""
        firsts = [entry for entry, (_, call) in enumerate(case.calls) if call == 0]
        return torch.stack([*(self.before[entry][:SAMPLES] for entry in firsts), self.after[-1][:SAMPLES]], 1)


@functools.cache
def truth_of(name):
    """The plain run of a case, made once for all tests."""
    return ByHand(CASES[name])


def equal(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)


def untouched(pipe, hooks_of, before=0):
    return "step" not in vars(pipe.scheduler) and hooks_of(network_of(pipe)) == before


LIKE_ANOTHER = (
    "ddpm", "not guided", "lcm", "dit, not guided", "pixart alpha", "runge-kutta"
)  # fmt: skip
"""Cases that run the code of another one."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LIKE_ANOTHER else []) for name in CASES],
)
def test_a_watched_call_is_the_plain_one_and_holds_what_plain_hooks_see(name, tmp_path, hooks_of):
    case = CASES[name]
    truth = truth_of(name)
    pipe, arguments = case.built()
    with ds.watch(pipe, layers=case.layers, out=tmp_path / "run.zarr"):
        result = pipe(**arguments)[0]
    assert equal(result, truth.result) and untouched(pipe, hooks_of)

    rec = ds.open(tmp_path / "run.zarr")
    inner = ("token", "feature") if case.packed else ("channel", "height", "width")
    assert rec.sequence.dims == ("sample", "state", *inner)
    assert equal(rec.sequence, truth.sequence(case))
    firsts = [entry for entry, (_, call) in enumerate(case.calls) if call == 0]
    assert rec.dataset["timestep"].to_numpy().tolist() == [truth.timesteps[entry] for entry in firsts]
    assert np.isfinite(rec.dataset["sigma"]).all() and (np.diff(rec.dataset["sigma"]) < 0).all()
    assert rec.dataset["complete"].all() and not rec.dataset["nonfinite"].any()
    assert set(rec.states) == set(case.layers)
    several = ("call",) * (max(call for _, call in case.calls) > 0) + ("branch",) * bool(case.branches)
    for layer in case.layers:
        assert rec.states[layer].dims[: 2 + len(several)] == ("sample", "step", *several)
        assert "branch" not in several or rec.states[layer]["branch"].to_numpy().tolist() == list(
            case.branches
        )
        assert equal(rec.states[layer], truth.state(case, layer)), layer
    report = verify.store(tmp_path / "run.zarr")
    assert report.sound and report.samples == SAMPLES


def test_attention_is_read_in_both_branches(tmp_path):
    pipe, arguments = PIPELINES["stable_diffusion_xl"]()
    address = "mid_block.attentions.0.transformer_blocks.0.attn2:probs"
    with ds.watch(pipe, layers=[address], out=tmp_path / "run.zarr"):
        pipe(**arguments)
    weights = ds.open(tmp_path / "run.zarr").states[address]
    assert weights.dims[:3] == ("sample", "step", "branch")
    assert weights.shape[-1] == arguments["prompt_embeds"].shape[1]
    assert np.allclose(weights.sum(weights.dims[-1]), 1, atol=1e-5)


def test_a_query_names_the_same_layer_everywhere(tmp_path):
    pipe, arguments = PIPELINES["ddim"]()
    with ds.watch(
        pipe, layers=["down_blocks.**", "!type:SiLU", "!type:Dropout", "last"], out=tmp_path / "r.zarr"
    ):
        pipe(**arguments)
    found, known = set(ds.open(tmp_path / "r.zarr").states), ds.load(pipe, device="cpu").layers()
    wanted = {
        layer.address
        for layer in known
        if layer.address.startswith("down_blocks.") and layer.kind not in ("SiLU", "Dropout")
    }
    assert found == wanted | {"conv_out"}


def image_to_image(pipe):
    from diffusers import StableDiffusionImg2ImgPipeline

    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    made = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(
    ("change", "steps", "calls"),
    [
        # Half of eight steps. PNDM makes its first step twice here too.
        (None, 8, [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)]),
        (heun, 8, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]),
    ],
)
def test_a_run_that_starts_late_has_its_own_steps(change, steps, calls, tmp_path):
    case = Case("stable_diffusion", branches=GUIDED, change=change, calls=calls)

    def built():
        pipe, arguments = case.built()
        given = {name: arguments[name] for name in ("prompt_embeds", "negative_prompt_embeds", "generator")}
        image = torch.randn(SAMPLES, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        arguments = {"image": image, "num_inference_steps": steps, "strength": 0.5, "output_type": "latent"}
        return image_to_image(pipe), given | arguments

    truth = ByHand(Built(case, built))
    pipe, arguments = built()
    with ds.watch(pipe, layers=UNET, out=tmp_path / "run.zarr"):
        assert equal(pipe(**arguments)[0], truth.result)
    rec = ds.open(tmp_path / "run.zarr")
    firsts = [entry for entry, (_, call) in enumerate(calls) if call == 0]
    assert rec.dataset["timestep"].to_numpy().tolist() == [truth.timesteps[entry] for entry in firsts]
    assert equal(rec.sequence, truth.sequence(case))
    assert all(equal(rec.states[layer], truth.state(case, layer)) for layer in UNET)


class Built:
    """A case that is built otherwise."""

    def __init__(self, case, built):
        self.layers, self.built = case.layers, built


def test_a_run_that_leaves_the_end_to_another_model_has_the_steps_it_makes(tmp_path):
    pipe, arguments = PIPELINES["stable_diffusion_xl"]()
    with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"):
        result = pipe(**arguments | {"num_inference_steps": 6, "denoising_end": 0.5})[0]
    rec = ds.open(tmp_path / "run.zarr")
    assert rec.sequence.sizes["state"] == 1 + rec.states["mid_block"].sizes["step"] == 4
    assert equal(rec.final, result)


def true_guidance(arguments):
    """Flux's guidance by a second call of the network in each step."""
    negative = {f"negative_{name}": -arguments[name] for name in ("prompt_embeds", "pooled_prompt_embeds")}
    return arguments | negative | {"true_cfg_scale": 2.0}


def test_branches_in_calls_of_their_own_are_recorded_where_they_are_stated(tmp_path):
    pipe, arguments = PIPELINES["flux"]()
    with (
        pytest.raises(
            ds.UserError,
            match=r"2 and 2 rows .* states of 2.*branches='uncond,cond'",
        ),
        ds.watch(pipe, layers=["x_embedder"], out=tmp_path / "run.zarr"),
    ):
        pipe(**true_guidance(arguments))
    assert not (tmp_path / "run.zarr").exists() and "step" not in vars(pipe.scheduler)

    layer = "transformer_blocks.0[1]"
    pipe, arguments = PIPELINES["flux"]()
    plain = Case("flux", (layer,))
    truth = ByHand(Built(plain, lambda: (PIPELINES["flux"]()[0], true_guidance(PIPELINES["flux"]()[1]))))
    with ds.watch(pipe, layers=[layer], out=tmp_path / "run.zarr", branches=REVERSED):
        assert equal(pipe(**true_guidance(arguments))[0], truth.result)
    state = ds.open(tmp_path / "run.zarr").states[layer]
    assert state.dims == ("sample", "step", "branch", "token", "feature")
    for index, branch in enumerate(REVERSED):
        assert equal(state.sel(branch=branch), torch.stack(truth.states[layer][index::2], 1))


def unknown_pipeline():
    """A pipeline from elsewhere: guided, in an unknown order of branches."""
    from diffusers import DDIMScheduler, DiffusionPipeline

    class Own(DiffusionPipeline):
        def __init__(self, unet, scheduler):
            super().__init__()
            self.register_modules(unet=unet, scheduler=scheduler)

        @torch.no_grad()
        def __call__(self, x, doubled=False):
            self.scheduler.set_timesteps(STEPS)
            for t in self.scheduler.timesteps:
                output = self.unet(x if doubled else torch.cat([x, x]), t).sample
                half = output.chunk(2)[0]
                x = self.scheduler.step(torch.cat([half, half]) if doubled else half, t, x)[0]
            return x

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Own(tiny_models.unet().eval(), DDIMScheduler())


@pytest.mark.parametrize(("doubled", "stated"), [(False, ("b", "a")), (True, "b,a")])
def test_the_order_of_an_unknown_pipeline_is_to_be_stated(doubled, stated, tmp_path):
    pipe, x = unknown_pipeline(), torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    x_T = torch.cat([x, x]) if doubled else x
    if not doubled:
        with (
            pytest.raises(
                ds.UserError,
                match=r"Own calls its network with 6 rows .*branches='uncond,cond'",
            ),
            ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
        ):
            pipe(x_T)
    with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr", branches=stated):
        result = pipe(x_T, doubled)
    rec = ds.open(tmp_path / "run.zarr")
    assert rec.sequence.sizes["sample"] == 3 and equal(rec.final, result[:3])
    assert rec.states["mid_block"]["branch"].to_numpy().tolist() == ["b", "a"]


def test_a_pipeline_that_is_derived_from_a_known_one_has_its_order(tmp_path):
    pipe, arguments = PIPELINES["pixart_sigma"]()
    pipe.__class__ = type("Own", (type(pipe),), {})
    with ds.watch(pipe, layers=["proj_out"], out=tmp_path / "run.zarr"):
        pipe(**arguments)
    assert ds.open(tmp_path / "run.zarr").states["proj_out"]["branch"].to_numpy().tolist() == list(GUIDED)


@pytest.mark.parametrize(
    ("branches", "match"),
    [
        (("a", "b", "c"), "4 rows for states of 2.*branches='a,b,c'"),
        ((), "4 rows for states of 2.*branches=''"),
        (("cond", "cond"), "branches is .'cond', 'cond'.; allowed: different names"),
        ("uncond,", "branches is 'uncond,'; allowed"),
        ("cond,cond", "branches is 'cond,cond'; allowed: different names, such as \"uncond,cond\""),
    ],
)
def test_branches_that_do_not_fit_are_refused(branches, match, tmp_path):
    pipe, arguments = PIPELINES["stable_diffusion"]()
    with (
        pytest.raises(ds.UserError, match=match),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr", branches=branches),
    ):
        pipe(**arguments)
    assert not (tmp_path / "run.zarr").exists()


def three_blocks(pipe):
    """A Flux of three blocks; its parts are made from one seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe.transformer = tiny_models.flux_network(guidance_embeds=True, num_layers=3).eval()


def test_steps_answered_from_a_cache_are_nan_and_named(tmp_path):
    from diffusers import FirstBlockCacheConfig

    layers = (
        "transformer_blocks.0.attn",
        "transformer_blocks.1[1]",
        "transformer_blocks.1.norm1",
        "proj_out",
    )
    case = Case("flux", layers, change=three_blocks)
    pipe, arguments = case.built()
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    with (
        pytest.warns(
            UserWarning, match=r"transformer_blocks\.1\[1\] in steps 1, 2; transformer_blocks\.1\.norm1"
        ),
        ds.watch(pipe, layers=layers, out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    rec = ds.open(tmp_path / "run.zarr")
    skipped = layers[1:3]
    assert rec.attrs["missing"] == {layer: [1, 2] for layer in skipped}
    truth = ByHand(case)
    for layer in layers:
        missing = np.isnan(rec.states[layer])
        assert not missing[:, 0].any() and bool(missing[:, 1:].all()) == (layer in skipped)
        assert equal(rec.states[layer][:, 0], truth.states[layer][0])
    assert not rec.dataset["nonfinite"].any() and verify.store(tmp_path / "run.zarr").sound


def test_the_entry_of_a_call_that_was_not_made_is_left_open_and_no_other_moves(tmp_path):
    case = Case("ddim", ("mid_block.attentions.0", "conv_out"))
    pipe, arguments = case.built()
    block, calls = pipe.unet.mid_block, iter(range(STEPS))
    original = block.forward

    def skips_the_second(hidden_states, temb=None):
        return hidden_states if next(calls) == 1 else original(hidden_states, temb)

    block.forward = skips_the_second
    with (
        pytest.warns(UserWarning, match=r"mid_block\.attentions\.0 in steps 1$"),
        ds.watch(pipe, layers=case.layers, out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    state = ds.open(tmp_path / "run.zarr").states["mid_block.attentions.0"]
    assert np.isnan(state).all(("sample", "channel", "height", "width")).to_numpy().tolist() == [
        False,
        True,
        False,
    ]
    assert equal(state[:, 0], ByHand(case).states["mid_block.attentions.0"][0])


def test_guidance_that_is_given_up_on_the_way_leaves_its_entries_open(tmp_path):
    pipe, arguments = PIPELINES["stable_diffusion_xl"]()

    def stop_guidance(pipe, step, _timestep, kept):
        pipe._guidance_scale = 1.0
        return {name: value.chunk(2)[-1] for name, value in kept.items()} if step == 0 else kept

    names = ["prompt_embeds", "add_text_embeds", "add_time_ids"]
    with (
        pytest.warns(UserWarning, match="mid_block in steps 1, 2"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments, callback_on_step_end=stop_guidance, callback_on_step_end_tensor_inputs=names)
    state = ds.open(tmp_path / "run.zarr").states["mid_block"]
    assert np.isfinite(state[:, 0]).all() and np.isnan(state[:, 1:]).all()


def test_reductions_apply_as_in_any_recording(tmp_path):
    case, truth = CASES["heun"], truth_of("heun")
    pipe, arguments = case.built()
    chosen = {"every": (1, 2), "channels": "0:3", "height": "1", "state_dtype": "float16", "codec": "zstd"}
    with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "part.zarr", flatten=True, **chosen):
        pipe(**arguments)
    rec = ds.open(tmp_path / "part.zarr")
    assert rec.states["mid_block"].dtype == np.float16
    part = truth.state(case, "mid_block")[:, 1:, :, :, :3, 1:2].half()
    assert equal(rec.states["mid_block"], part.flatten(-3))
    assert rec.dataset["step"].to_numpy().tolist() == [1, 2] and equal(rec.sequence, truth.sequence(case))

    pipe, arguments = case.built()
    with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "mean.zarr", reduce="spatial_mean"):
        pipe(**arguments)
    rec, wanted = ds.open(tmp_path / "mean.zarr"), truth.state(case, "mid_block").mean((-1, -2))
    assert rec.states["mid_block"].dims == ("sample", "step", "call", "branch", "channel")
    assert np.allclose(rec.states["mid_block"], wanted, atol=1e-6, equal_nan=True)


def test_files_of_pt_hold_the_same(tmp_path):
    case, truth = CASES["pndm"], truth_of("pndm")
    for out, options in (("folder", {}), ("stores", {"output_format": "zarr"})):
        pipe, arguments = case.built()
        with ds.watch(pipe, layers=["mid_block"], out=tmp_path / out, **options):
            pipe(**arguments)
    stored = torch.load(tmp_path / "folder" / "mid_block" / "sample_0001_trajectory.pt")
    assert equal(stored, truth.state(case, "mid_block")[1])
    rec = ds.open(tmp_path / "stores" / "recording.zarr")
    exported = rec.export(tmp_path / "exported")
    for name in ("sequences/sample_0000_sequence.pt", "mid_block/sample_0000_trajectory.pt"):
        assert (exported / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()


def test_a_recording_says_where_it_comes_from_and_that_it_cannot_be_made_again(tmp_path):
    pipe, arguments = PIPELINES["dit"]()
    with ds.watch(pipe, layers=["transformer_blocks.*"], out=tmp_path / "run.zarr"):
        pipe(**arguments)
    attrs = ds.open(tmp_path / "run.zarr").attrs
    assert attrs["model"] == attrs["pipeline"] == "DiTPipeline" and attrs["scheduler"] == "DDIMScheduler"
    known = attrs["fingerprint"]
    assert known["network"].endswith(".DiTTransformer2DModel") and known["branches"] == list(REVERSED)
    assert known["weights_sha256"] == ds.load(pipe, device="cpu").weights_hash
    assert known["scheduler_config"]["beta_schedule"] == "linear" and known["lanes"] == SAMPLES
    assert known["layers"] == ["transformer_blocks.0", "transformer_blocks.1"] and known["steps"] == STEPS
    assert attrs["versions"].keys() >= {"torch", "diffusers", "denoscope"} and attrs["created"]
    with pytest.raises(ds.UserError, match=r"recorded from a DiTPipeline call.*--recompute"):
        verify.store(tmp_path / "run.zarr", recompute=1)


def test_pipelines_still_see_what_their_scheduler_accepts(tmp_path):
    pipe, _ = PIPELINES["ddim"]()
    signature = inspect.signature(pipe.scheduler.step)
    with (
        pytest.raises(ds.UserError, match="nothing was recorded: no DDIMPipeline call made a step"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        assert inspect.signature(pipe.scheduler.step) == signature
    assert not (tmp_path / "run.zarr").exists()


def test_one_call_can_be_watched_twice(tmp_path, hooks_of):
    pipe, arguments = PIPELINES["ddim"]()
    with (
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "one.zarr"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "other.zarr"),
    ):
        pipe(**arguments)
    one, other = (ds.open(tmp_path / name).states["mid_block"] for name in ("one.zarr", "other.zarr"))
    assert equal(one, other) and untouched(pipe, hooks_of)


def test_a_second_call_is_refused_and_the_first_one_stays(tmp_path, contents, hooks_of):
    pipe, arguments = PIPELINES["ddim"]()
    with (
        pytest.raises(ds.UserError, match="holds one call of the pipeline, and this is another"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
        before = contents(tmp_path / "run.zarr")
        pipe(**arguments)
    assert contents(tmp_path / "run.zarr") == before and untouched(pipe, hooks_of)
    assert ds.open(tmp_path / "run.zarr").dataset["complete"].all()


def test_a_call_that_follows_a_failed_one_is_refused(tmp_path, dies_at):
    pipe, arguments = PIPELINES["ddim"]()
    dies_at(pipe.unet, 1)
    with (
        pytest.raises(ds.UserError, match=r"timestep 666 .*from 333"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        with pytest.raises(RuntimeError, match="on purpose"):
            pipe(**arguments)
        pipe(**arguments)
    assert not ds.open(tmp_path / "run.zarr").dataset["complete"].any()


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (RuntimeError("died"), "run.zarr"),
        (KeyboardInterrupt(), "folder"),
        (OSError(2, "no weights"), "run.zarr"),
    ],
)
def test_a_call_that_fails_leaves_an_unfinished_recording_and_no_hook(error, out, tmp_path, hooks_of):
    pipe, arguments = PIPELINES["ddim"]()
    calls = iter(range(STEPS))

    def fail(*_):
        if next(calls) == 2:
            raise error

    handle = pipe.unet.register_forward_pre_hook(fail)
    with pytest.raises(type(error)) as caught, ds.watch(pipe, layers=["mid_block"], out=tmp_path / out):
        pipe(**arguments)
    handle.remove()
    assert caught.value is error and untouched(pipe, hooks_of)
    rec = ds.open(tmp_path / out)
    assert not rec.dataset["complete"].any() and np.isnan(rec.sequence).all()
    report = verify.store(tmp_path / out)
    assert not report.sound and not report.problems and report.finished == 0
    assert not list((tmp_path / out).rglob("*.partial"))


def test_a_call_that_fails_before_its_first_step_writes_nothing(tmp_path, dies_at):
    pipe, arguments = PIPELINES["ddim"]()
    dies_at(pipe.unet, 0)
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_behind_the_last_step_costs_nothing(tmp_path):
    pipe, arguments = PIPELINES["dit"]()
    pipe.vae.decode = None
    with (
        pytest.raises(TypeError, match="not callable"),
        ds.watch(pipe, layers=["transformer_blocks.0"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    assert verify.store(tmp_path / "run.zarr").sound


def test_a_call_that_is_ended_early_is_unfinished(tmp_path):
    pipe, arguments = PIPELINES["stable_diffusion_xl"]()

    def interrupt(pipe, step, _timestep, kept):
        pipe._interrupt = step == 1
        return kept

    with (
        pytest.raises(ds.UserError, match=r"ended in step 2 of 3; .*run.zarr is unfinished"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments, callback_on_step_end=interrupt)
    assert not ds.open(tmp_path / "run.zarr").dataset["complete"].any()


def test_every_step_is_on_disk_before_the_next_one_is_computed(tmp_path):
    pipe, arguments = PIPELINES["ddim"]()
    sizes = []
    pipe.unet.register_forward_pre_hook(
        lambda *_: sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.partial")))
    )
    with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"):
        pipe(**arguments)
    rec = ds.open(tmp_path / "run.zarr")
    step = rec.sequence[:, 0].nbytes + rec.states["mid_block"][:, 0].nbytes
    assert sizes == [0, step, 2 * step]


def test_a_thread_that_writes_beside_the_pipeline_writes_the_same(tmp_path, contents, monkeypatch):
    """As on CUDA."""
    for threaded in (False, True):
        monkeypatch.setattr(
            "denoscope.recording.pipelines.watch.DeviceTransfer",
            functools.partial(DeviceTransfer, threaded=threaded),
        )
        pipe, arguments = CASES["heun"].built()
        with ds.watch(pipe, layers=UNET, out=tmp_path / f"{threaded}.zarr"):
            pipe(**arguments)
    assert contents(tmp_path / "True.zarr") == contents(tmp_path / "False.zarr")


def one_line(match, tmp_path, *, pipe=None, layers=("mid_block",), **options):
    """The call is refused with one line by the end of its first step, and writes nothing."""
    made, arguments = PIPELINES["ddim"]()
    pipe = pipe or made
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(ds.UserError, match=match) as caught,
        ds.watch(pipe, layers=layers, out=tmp_path / "run.zarr", **options),
    ):
        pipe(**arguments)
    assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("layers", "options", "match"),
    [
        (["mid_blok"], {}, "unknown layer 'mid_blok'; the nearest are mid_block"),
        (["mid_block.attentions.0:out[7]"], {}, r"attentions\.0\[7\]'.*a single tensor.*leave out \[7\]"),
        (["up_blocks.*.nothing"], {}, "unknown layer"),
        (["mid_block"], {"every": (7, 9)}, "every names step 9; allowed: 0 to 2"),
        (["mid_block"], {"channels": "a"}, "channels is 'a'"),
        (["mid_block"], {"codec": "gzip"}, "codec is 'gzip'; allowed: none, zstd"),
        (["mid_block"], {"channels": "99:"}, "layer 'mid_block'.*does not fit its 16 channels"),
        (["down_blocks.0:diff"], {}, r"'down_blocks\.0:diff'.*\[2, 8, 4, 4\].*\[2, 8, 8, 8\]"),
        (
            ["down_blocks.0.resnets.0.nonlinearity"],
            {},
            "states of different shapes in one call",
        ),
    ],
)
def test_a_wrong_layer_or_option_is_refused(layers, options, match, tmp_path):
    one_line(match, tmp_path, layers=layers, **options)


def test_a_pipeline_can_be_recorded_in_memory():
    case, truth = CASES["heun"], truth_of("heun")
    pipe, arguments = case.built()
    with ds.watch(pipe, layers="mid_block") as watched:
        with pytest.raises(ds.UserError, match="not finished"):
            _ = watched.recording
        pipe(**arguments)
    rec = watched.recording
    assert rec.path is None and equal(rec.sequence, truth.sequence(case))
    assert equal(rec["mid_block"], truth.state(case, "mid_block"))
    assert rec.dataset["complete"].all()


def test_a_pipeline_that_does_not_fit_into_memory_is_refused(monkeypatch):
    pipe, arguments = PIPELINES["ddim"]()
    monkeypatch.setattr("denoscope.foundation.memory.free_bytes", lambda _: 1000)
    with pytest.raises(ds.UserError, match=r"1000 B are free.*out="), ds.watch(pipe, layers="mid_block"):
        pipe(**arguments)


def test_a_layer_without_rows_or_calls_is_refused_with_how_to_leave_it_out(tmp_path):
    for layer, match in (
        ("pos_embed", "without a row for each of the network's 2"),
        ("unused", "no state passed"),
    ):
        pipe, arguments = PIPELINES["flux"]()
        pipe.transformer.unused = torch.nn.Linear(1, 1)
        with (
            pytest.raises(ds.UserError, match=rf"layer '{layer}'.*{match}.*leave it out \(!{layer}\)"),
            ds.watch(pipe, layers=[layer], out=tmp_path / "run.zarr"),
        ):
            pipe(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_replaced_only_with_overwrite(tmp_path):
    for index in range(2):
        pipe, arguments = PIPELINES["ddim"]()
        with ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr", overwrite=index > 0):
            pipe(**arguments | {"num_inference_steps": 2 + index})
    assert ds.open(tmp_path / "run.zarr").sequence.sizes["state"] == 4
    one_line("run.zarr already holds a recording; replace it with overwrite=True", tmp_path)
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "mine").write_text("")
    pipe, arguments = PIPELINES["ddim"]()
    with (
        pytest.raises(ds.UserError, match="exists and is not a recording"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "other.zarr", overwrite=True),
    ):
        pipe(**arguments)


def test_a_plan_that_does_not_fit_on_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("denoscope.storage.space.free_bytes", lambda _: 1000)
    one_line("but only 1000 B are free", tmp_path)


def test_a_full_disk_is_reported_in_one_line(tmp_path, monkeypatch):
    pipe, arguments = PIPELINES["ddim"]()
    monkeypatch.setattr("denoscope.storage.stores.local.FileSink.append", full)
    with (
        pytest.raises(ds.UserError, match=r"cannot write .*run.zarr: No space left"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    monkeypatch.undo()
    assert not ds.open(tmp_path / "run.zarr").dataset["complete"].any()


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_pipeline_without_a_network_or_scheduler_is_refused(tmp_path):
    pipe, _ = PIPELINES["ddim"]()
    without = copy.copy(pipe)
    without.unet = None
    one_line("DDIMPipeline has no unet or transformer", tmp_path, pipe=without)
    pipe.scheduler = None
    one_line("DDIMPipeline has no scheduler that steps images but NoneType", tmp_path, pipe=pipe)


def test_a_step_without_a_call_of_the_network_is_refused(tmp_path):
    pipe, _ = PIPELINES["ddim"]()
    pipe.scheduler.set_timesteps(STEPS)
    with (
        pytest.raises(ds.UserError, match="made a step without a call of its UNet2DModel"),
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe.scheduler.step(torch.zeros(1, 3, 8, 8), 666, torch.zeros(1, 3, 8, 8))


def test_samples_that_diverge_are_marked(tmp_path):
    pipe, arguments = PIPELINES["ddim"]()
    calls = iter(range(STEPS))

    def diverge(_module, _args, output):
        if next(calls) == 1:
            output[1, 0, 0, 0] = torch.nan

    pipe.unet.mid_block.register_forward_hook(diverge)
    with ds.watch(pipe, layers=["conv_in", "mid_block"], out=tmp_path / "run.zarr"):
        pipe(**arguments | {"output_type": "np"})
    flags = ds.open(tmp_path / "run.zarr").dataset["nonfinite"].to_numpy()
    assert flags.tolist() == [[False] * 4, [False, False, True, True]]


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_a_call_is_never_said_to_be_resumable(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe, arguments = PIPELINES["stable_diffusion"]()
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        ds.watch(pipe, layers=["mid_block"], out=out),
    ):
        pipe(**arguments, callback_on_step_end=fail)
    with pytest.raises(SystemExit):
        main(["verify", "store", out])
    again = "record the StableDiffusionPipeline call again (overwrite=True), since it cannot be resumed"
    flagged = again.replace("overwrite=True", "--overwrite")
    assert capsys.readouterr().out.splitlines()[-1] == f"unfinished, {flagged}"
    tiny_models.unet().save_pretrained("model")
    ds.noise.random(1, (3, 8, 8)).write("inputs")
    asked = f"record --model model --scheduler ddim --num_steps 1 --output {out}".split()
    for flags, match in (
        (
            ["--resume"],
            f"{out} was recorded from a StableDiffusionPipeline call, which cannot be resumed; ",
        ),
        ([], f"{out} already holds a recording; "),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*asked, *flags])
        message = capsys.readouterr().err
        assert stop.value.code == 2 and message.count("\n") == 1
        assert match in message and "replace it (--overwrite)" in message and "--resume" not in message
    swap = ds.Intervention("mid_block", "swap", out)
    with pytest.raises(ds.UserError) as refused:
        ds.sample(
            ds.load(pipe, scheduler="pndm"),
            torch.zeros(2, 4, 8, 8),
            steps=STEPS,
            names=["sample_0000", "sample_0001"],
            interventions=[swap],
            condition=ds.Condition(
                {"encoder_hidden_states": arguments["prompt_embeds"]},
                {"encoder_hidden_states": arguments["negative_prompt_embeds"]},
            ),
        )
    assert str(refused.value).endswith(f"sample 'sample_0000' is not finished; {again}")


def fail(*_):
    raise RuntimeError("on purpose")


def test_an_unwritable_output_is_reported_without_advice_to_resume(tmp_path, monkeypatch):
    pipe, arguments = PIPELINES["ddim"]()
    monkeypatch.setattr("denoscope.storage.zarr.writer.lay_out", full)
    with (
        pytest.raises(ds.UserError, match=r"No space left.*record the DDIMPipeline call again") as caught,
        ds.watch(pipe, layers=["mid_block"], out=tmp_path / "run.zarr"),
    ):
        pipe(**arguments)
    assert "resume=" not in str(caught.value) and "\n" not in str(caught.value)


def with_dropout(pipe):
    for module in pipe.unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    pipe.unet.train()


def with_dropout_in_one_block(pipe):
    with_dropout(pipe)
    pipe.unet.eval()
    pipe.unet.mid_block.train()


def transformer_with_dropout(pipe):
    pipe.transformer.transformer_blocks[0].ff.net[1].p = 0.5
    pipe.transformer.train()


def appended(module):
    """A function that puts a module in training mode behind the network's first one."""

    def append(pipe):
        pipe.unet.conv_in = torch.nn.Sequential(pipe.unet.conv_in, module()).train()

    return append


def without_dropout(pipe):
    pipe.unet.train()


TRAINING = [
    ("stable_diffusion", with_dropout, r"\d+ modules of UNet2DConditionModel, such as "),
    ("stable_diffusion", with_dropout_in_one_block, r"modules of UNet2DConditionModel, such as mid_block\."),
    (
        "dit",
        transformer_with_dropout,
        r"a module of DiTTransformer2DModel, such as transformer_blocks\.0\.ff",
    ),
    ("ddpm", appended(lambda: torch.nn.BatchNorm2d(8)), r"a module of UNet2DModel, such as conv_in\.1"),
    ("ddpm", appended(torch.nn.RReLU), r"a module of UNet2DModel, such as conv_in\.1"),
    ("ddpm", without_dropout, None),
    ("ddpm", appended(lambda: torch.nn.BatchNorm2d(8, track_running_stats=False)), None),
]


@pytest.mark.parametrize(("name", "change", "warning"), TRAINING)
def test_a_network_whose_training_mode_changes_results_is_warned_of(name, change, warning):
    pipe, arguments = PIPELINES[name]()
    change(pipe)
    layer = "mid_block" if name != "dit" else "transformer_blocks.1"
    warned = pytest.warns(UserWarning, match=f"{warning}.* in training mode.*call .eval\\(\\)")
    with warned if warning else nullcontext(), ds.watch(pipe, layers=layer):
        pipe(**arguments)
    if warning:
        network_of(pipe).eval()
        with ds.watch(pipe, layers=layer):  # warns of nothing, since warnings are errors
            pipe(**arguments)


class Result(torch.nn.Module):
    """The result of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h):
        return self.function(h)


class Beside(torch.nn.Module):
    """Passes its input on, and calls a function whose result nobody uses."""

    def __init__(self, function):
        super().__init__()
        self.result = Result(function)

    def forward(self, h):
        self.result(h)
        return h


@pytest.mark.parametrize("out", [None, "run.zarr", "run"])
@pytest.mark.parametrize(
    ("dtype", "function"),
    [("int64", lambda h: (h > 0).long() + 2**24 + 1), ("complex64", torch.fft.rfft2)],
)
def test_a_layer_is_stored_in_its_own_dtype(dtype, function, out, tmp_path):
    pipe, arguments = PIPELINES["ddpm"]()
    pipe.unet.conv_in = torch.nn.Sequential(pipe.unet.conv_in, Beside(function))
    seen = []
    hook = pipe.unet.conv_in[1].result.register_forward_hook(lambda _m, _a, output: seen.append(output))
    with ds.watch(pipe, layers="conv_in.1.result", out=out and tmp_path / out) as watched:
        pipe(**arguments)
    hook.remove()
    rec = ds.open(tmp_path / out) if out else watched.recording
    assert rec["conv_in.1.result"].dtype == np.dtype(dtype) and len(seen) == STEPS
    assert np.array_equal(rec["conv_in.1.result"], torch.stack(seen, 1))
