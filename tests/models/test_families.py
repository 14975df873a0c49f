"""The table of families against the calls that diffusers' own pipelines make."""

import copy
import functools
import inspect
import json

import pytest
import tiny_models
import torch
from tiny_models import PIPELINES, SAMPLES, SIZE, conditional_unet, flux_network, pixart_network, unet
from torch import nn

import denoscope as ds
from denoscope.hooks.module_survey import first_tensor
from denoscope.models.families import FAMILIES, config_of, family_of, layers_of
from denoscope.models.loading import shape_of
from denoscope.models.model_folder import blueprint

pytestmark = pytest.mark.filterwarnings(
    # NumPy 2's warning about how some diffusers schedulers convert tensors.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

FURTHER = {
    "labels": lambda: unet(num_class_embeds=4),
    "labels as timesteps": lambda: unet(class_embed_type="timestep"),
    "labels as embeddings": lambda: unet(class_embed_type="identity"),
    "text and labels": lambda: conditional_unet(num_class_embeds=4),
    "text and timesteps": lambda: conditional_unet(class_embed_type="timestep"),
    "text and embeddings": lambda: conditional_unet(
        class_embed_type="identity", time_embedding_type="fourier"
    ),
    "text and vectors": lambda: conditional_unet(
        class_embed_type="projection", projection_class_embeddings_input_dim=6
    ),
    "text and vectors at its side": lambda: conditional_unet(
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=6,
        class_embeddings_concat=True,
    ),
    "text of another width": lambda: conditional_unet(encoder_hid_dim=6),
    "text beside time": lambda: conditional_unet(addition_embed_type="text", addition_embed_type_num_heads=2),
    "text of the blocks' width": lambda: pixart_network(caption_channels=None),
    "no guidance": lambda: flux_network(),
}
"""Networks with inputs that none of the pipelines shows."""


def network_of(pipe) -> nn.Module:
    return getattr(pipe, "unet", None) or pipe.transformer


class Calls:
    """The arguments of a pipeline's network call, by name, and its result; from plain hooks."""

    def __init__(self, pipe, arguments):
        self.network = network_of(pipe)
        self.arguments: list[dict] = []
        self.outputs: list[torch.Tensor] = []
        self.called: dict[str, tuple[int, ...]] = {}
        self.signature = inspect.signature(self.network.forward)
        handles = [
            self.network.register_forward_pre_hook(self.note, with_kwargs=True),
            self.network.register_forward_hook(lambda _m, _a, output: self.outputs.append(output[0].clone())),
        ]
        handles += [
            module.register_forward_hook(
                lambda _m, _a, output, name=name: self.called.__setitem__(name, first_tensor(output).shape)
            )
            for name, module in self.network.named_modules()
            if name
        ]
        pipe(**copy.deepcopy(arguments))
        for handle in handles:
            handle.remove()
        self.timesteps = pipe.scheduler.timesteps

    def note(self, _module, args, kwargs):
        given = self.signature.bind(*args, **kwargs).arguments
        given.pop("return_dict", None)
        self.arguments.append(copy.deepcopy(given))

    def replayed(self, index):
        """(x, the scheduler's timestep, inputs) of a call."""
        inputs = dict(self.arguments[index])
        x = inputs.pop("sample" if "sample" in inputs else "hidden_states")
        del inputs["timestep"]
        return x, self.timesteps[index], inputs


@pytest.fixture(scope="module")
def calls():
    """The calls of each pipeline, made once."""
    return functools.cache(lambda name: Calls(*PIPELINES[name]()))


def made_from(build) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def on_meta(network: nn.Module) -> nn.Module:
    with torch.device("meta"):
        return type(network).from_config(network.config).eval()


def equals_its_replay(seen: Calls) -> bool:
    """Whether the family's call gives the network the same timesteps and gets the same outputs."""
    family, timesteps = family_of(seen.network), []
    handle = seen.network.register_forward_pre_hook(
        lambda _m, args, kwargs: timesteps.append(seen.signature.bind(*args, **kwargs).arguments["timestep"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        found = [family.call(seen.network, *seen.replayed(index)) for index in range(len(seen.outputs))]
    handle.remove()
    wanted = [arguments["timestep"] for arguments in seen.arguments]
    return all(
        torch.equal(*pair) and pair[0].dtype == pair[1].dtype
        for pair in [*zip(timesteps, wanted, strict=True), *zip(found, seen.outputs, strict=True)]
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_a_call_is_the_pipelines_own_bit_for_bit(calls, name):
    seen = calls(name)
    assert family_of(seen.network).name == type(seen.network).__name__
    assert len(seen.outputs) == len(seen.timesteps) >= 3
    assert equals_its_replay(seen)


def test_a_timestep_is_rounded_as_the_pipeline_rounds_it():
    pipe, arguments = PIPELINES["flux"]()
    pipe.to(torch.bfloat16)
    texts = {name: arguments[name].bfloat16() for name in ("prompt_embeds", "pooled_prompt_embeds")}
    assert equals_its_replay(Calls(pipe, arguments | texts))


def shapes(inputs: dict, rows: int, words: int) -> dict:
    """Shapes without the numbers of rows and words; masks and None are left out."""
    found = {}
    for name, value in inputs.items():
        if isinstance(value, dict):
            found |= shapes(value, rows, words)
        elif isinstance(value, torch.Tensor) and not name.endswith("_mask"):
            found[name] = tuple({rows: "rows", words: "words"}.get(size, size) for size in value.shape)
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_the_examples_are_what_the_pipeline_gives_but_for_values_and_words(calls, name):
    seen = calls(name)
    family, config = family_of(seen.network), seen.network.config
    x, _, inputs = seen.replayed(0)
    example = family.example_inputs(config, x.new_zeros(7, *x.shape[1:]))
    words = example["encoder_hidden_states"].shape[1] if "encoder_hidden_states" in example else -1
    assert shapes(example, 7, words) == shapes(inputs, len(x), 5)
    assert not any(tensor.any() for tensor in example.values() if isinstance(tensor, torch.Tensor))


@pytest.mark.parametrize("name", PIPELINES)
def test_the_dry_run_calls_the_modules_that_the_pipeline_calls_in_their_order(calls, name):
    seen = calls(name)
    layers = layers_of(seen.network, shape=tuple(seen.replayed(0)[0].shape[1:]))
    assert [layer.address for layer in layers] == list(seen.called)


@pytest.mark.parametrize("name", PIPELINES)
def test_with_the_pipelines_inputs_for_examples_the_layers_have_the_pipelines_shapes(calls, name):
    seen = calls(name)
    x, _, inputs = seen.replayed(0)
    layers = [
        layer for layer in layers_of(seen.network, shape=tuple(x.shape[1:]), inputs=inputs) if layer.shape
    ]
    assert {layer.address: (len(x), *layer.shape) for layer in layers}.items() <= seen.called.items()
    assert len(layers) > 0.9 * len(seen.called)


@pytest.mark.parametrize("name", FURTHER)
def test_the_dry_run_gives_a_network_the_further_inputs_that_it_needs(name):
    network = made_from(FURTHER[name])
    packed = family_of(network).packed
    assert len(layers_of(network, shape=(16, network.config.in_channels) if packed else None)) > 10


ON_META = ("ddim", "stable_diffusion_xl", "flux", "text and vectors at its side")
"""PyTorch takes ten times as long without values as with those of tiny networks."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ON_META else pytest.mark.slow)
        for name in (*PIPELINES, *FURTHER)
    ],
)
def test_the_layers_on_meta_are_those_on_the_cpu(name):
    network = network_of(PIPELINES[name]()[0]) if name in PIPELINES else made_from(FURTHER[name])
    packed = family_of(network).packed
    shape = (16, network.config.in_channels) if packed else (network.config.in_channels, SIZE, SIZE)
    found = layers_of(network, shape=shape)
    assert found == layers_of(on_meta(network), shape=shape)
    assert len(found) > 10


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ddpm", (3, SIZE, SIZE)),
        ("stable_diffusion", (4, SIZE, SIZE)),
        ("dit", (4, SIZE, SIZE)),
        ("pixart_sigma", (4, SIZE, SIZE)),
        ("stable_diffusion_3", (4, SIZE, SIZE)),
    ],
)
def test_the_shape_of_a_state_is_that_of_the_pipelines_x(calls, name, shape):
    seen = calls(name)
    assert family_of(seen.network).state_shape(seen.network.config) == shape
    assert tuple(seen.replayed(0)[0].shape[1:]) == shape


def test_a_packed_state_has_the_tokens_of_the_pipelines_own_image_size():
    pipe, arguments = PIPELINES["flux"]()
    pipe.vae_scale_factor = 8  # as that of every published model
    side = pipe.default_sample_size * pipe.vae_scale_factor
    latents, _ = pipe.prepare_latents(1, 4, side, side, torch.float32, "cpu", arguments["generator"])
    assert family_of(pipe.transformer).state_shape(pipe.transformer.config) == tuple(latents.shape[1:])


def test_sizes_of_height_and_width_are_distinguished():
    family = FAMILIES["UNet2DModel"]
    assert family.state_shape({"in_channels": 3, "sample_size": [8, 16]}) == (3, 8, 16)
    assert family.state_shape({"in_channels": 3, "sample_size": None}) is None


CONDITIONS = {
    "stable_diffusion": ("encoder_hidden_states", "prompt_embeds", "negative_prompt_embeds"),
    "stable_diffusion_xl": ("encoder_hidden_states", "prompt_embeds", "negative_prompt_embeds"),
    "pixart_alpha": ("encoder_hidden_states", "prompt_embeds", "negative_prompt_embeds"),
    "pixart_sigma": ("encoder_hidden_states", "prompt_embeds", "negative_prompt_embeds"),
    "stable_diffusion_3": ("encoder_hidden_states", "prompt_embeds", "negative_prompt_embeds"),
    "dit": ("class_labels", "class_labels", None),
}
"""Of each guided pipeline: the network's input, the argument with the condition and that with its absence."""


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_halves_of_a_guided_call_have_the_order_of_the_table(calls, name):
    seen = calls(name)
    _, arguments = PIPELINES[name]()
    into, wanted, absent = CONDITIONS[name]
    conditions = {
        "cond": torch.as_tensor(arguments[wanted]),
        # DiTPipeline's own label of no class.
        "uncond": torch.tensor([1000] * SAMPLES) if absent is None else arguments[absent],
    }
    branches = family_of(seen.network).branches
    assert set(branches) == {"cond", "uncond"}
    for index in range(len(seen.outputs)):
        halves = seen.replayed(index)[2][into].chunk(2)
        assert all(
            torch.equal(half, conditions[branch]) for half, branch in zip(halves, branches, strict=True)
        )


@pytest.mark.parametrize("name", ["ddpm", "ddim", "consistency", "latent_consistency", "flux"])
def test_where_guidance_is_embedded_or_absent_a_call_has_a_row_for_each_sample(calls, name):
    seen = calls(name)
    assert len(seen.replayed(0)[0]) == SAMPLES
    if name != "latent_consistency":  # its class serves guided pipelines too
        assert family_of(seen.network).branches == ()


def test_every_family_is_tried_by_a_pipeline(calls):
    assert {type(calls(name).network).__name__ for name in PIPELINES} == set(FAMILIES)


def test_builders_leave_the_programs_random_numbers_alone_and_give_the_same_again():
    before = torch.get_rng_state()
    built = [network_of(PIPELINES["dit"]()[0]).state_dict() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, built[1][name]) for name, value in built[0].items())


class Doubles(nn.Module):
    """A module as anybody writes one."""

    def forward(self, x, t):
        return None if t < 0 else (2 * x,)


def test_any_other_module_is_called_with_x_and_timestep():
    family, x = family_of(Doubles()), torch.ones(2, 1, 2, 2)
    assert (family.name, family.branches, family.packed) == ("", (), False)
    assert torch.equal(family.call(Doubles(), x, torch.tensor(3)), 2 * x)
    assert config_of(Doubles()) == {} and family.example_inputs({}, x) == {}
    with pytest.raises(ds.UserError, match="Doubles returned a NoneType"):
        family.call(Doubles(), x, torch.tensor(-1))
    with pytest.raises(ds.UserError, match=r"Doubles does not state the shape.*shape=\(C, H, W\)"):
        layers_of(Doubles())


def test_a_derived_class_is_of_its_bases_family():
    network = made_from(unet)
    network.__class__ = type("Own", (type(network),), {})
    assert family_of(network).name == "UNet2DModel"


def one_line(match: str, function, *arguments, **options):
    with pytest.raises(ds.UserError, match=match) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 8},
            "encoder_hid_dim_type is 'image_proj'",
        ),
        ({"addition_embed_type": "image", "encoder_hid_dim": 8}, "addition_embed_type is 'image'.*text_time"),
    ],
)
def test_inputs_that_the_table_does_not_know_are_refused(options, match):
    one_line(match, layers_of, made_from(lambda: conditional_unet(**options)))


def test_a_width_that_is_not_a_number_is_refused():
    config = {"cross_attention_dim": [8, 16]}
    one_line(
        r"cross_attention_dim is \[8, 16\]",
        FAMILIES["UNet2DConditionModel"].example_inputs,
        config,
        torch.zeros(1, 4, 8, 8),
    )


def test_a_class_of_diffusers_outside_of_the_table_is_refused_before_its_weights_are_read(tmp_path):
    one_line("AutoencoderKL are not known; allowed: UNet2DModel, ", layers_of, made_from(tiny_models.vae))
    network = made_from(tiny_models.vae)
    one_line("AutoencoderKL", ds.load, network, scheduler="ddim")
    network.save_config(tmp_path)
    one_line("AutoencoderKL", ds.load, str(tmp_path))


@pytest.fixture
def folder_of(tmp_path):
    """A folder with a pipeline's network and scheduler in their places, saved by plain diffusers."""
    from diffusers import DDIMScheduler

    def save(name):
        pipe, _ = PIPELINES[name]()
        network = network_of(pipe)
        # Its own scheduler matches flows, which these tests do not cover.
        pipe.scheduler = DDIMScheduler() if name == "stable_diffusion_3" else pipe.scheduler
        network.save_pretrained(tmp_path / ("unet" if hasattr(pipe, "unet") else "transformer"))
        pipe.scheduler.save_pretrained(tmp_path / "scheduler")
        return tmp_path, network, pipe

    return save


@pytest.mark.parametrize(
    "name",
    [
        "ddpm",
        "flux",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("stable_diffusion_xl", "dit")),
    ],
)
def test_a_blueprint_needs_no_weights_and_has_the_layers_of_the_network(folder_of, name):
    folder, network, _ = folder_of(name)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    plan = blueprint(folder)
    assert type(plan) is type(network) and not plan.training
    assert {parameter.device.type for parameter in plan.parameters()} == {"meta"}
    assert {key: value.shape for key, value in plan.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    shape = (16, 16) if name == "flux" else None
    assert layers_of(plan, shape=shape) == layers_of(network, shape=shape)


def test_a_folder_of_no_network_makes_no_blueprint(folder_of, tmp_path):
    one_line("no config.json", blueprint, tmp_path)
    folder, *_ = folder_of("dit")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"norm_type": "other"}))
    one_line("DiTTransformer2DModel: Forward pass is not implemented", blueprint, folder)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dit", "folder"),
        ("stable_diffusion", "folder"),
        ("pixart_sigma", "pipeline"),
        ("stable_diffusion_3", "pipeline"),
        pytest.param("dit", "pipeline", marks=pytest.mark.slow),
        pytest.param("stable_diffusion", "pipeline", marks=pytest.mark.slow),
        pytest.param("pixart_sigma", "folder", marks=pytest.mark.slow),
        pytest.param("stable_diffusion_3", "folder", marks=pytest.mark.slow),
    ],
)
def test_pipelines_and_folders_of_every_family_load(folder_of, name, kind):
    folder, network, pipe = folder_of(name)
    denoiser = ds.load(pipe if kind == "pipeline" else str(folder), device="cpu")
    assert denoiser.shape == (4, SIZE, SIZE) and type(denoiser.scheduler) is type(pipe.scheduler)
    assert denoiser.layers() == layers_of(network)
    assert shape_of(str(folder)) == (4, SIZE, SIZE)
    assert all(
        torch.equal(value, denoiser.network.state_dict()[key]) for key, value in network.state_dict().items()
    )


def test_the_dry_run_takes_the_precision_of_the_parameters():
    denoiser = ds.load(PIPELINES["stable_diffusion_xl"]()[0], device="cpu", dtype="bfloat16")
    assert {layer.dtype for layer in denoiser.layers() if layer.address.startswith("mid_block")} == {
        torch.bfloat16
    }


def test_a_packed_network_is_refused_before_its_weights_are_read(folder_of):
    folder, network, pipe = folder_of("flux")
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    for source in (str(folder), pipe, network):
        one_line(
            r"FluxTransformer2DModel.*with ds\.watch\(pipe", ds.load, source, device="cpu", scheduler="ddim"
        )
    one_line(r"ds\.watch", shape_of, str(folder))


def test_a_pipeline_without_a_network_is_refused():
    pipe, _ = PIPELINES["dit"]()
    pipe.transformer = None
    one_line("DiTPipeline has no unet or transformer", ds.load, pipe)


@pytest.mark.parametrize("name", ["dit", "pixart_sigma"])
def test_the_variances_of_an_output_go_to_a_scheduler_that_has_learned_to_use_them(calls, name):
    from diffusers import DDPMScheduler

    seen = calls(name)
    x, timestep, inputs = seen.replayed(0)
    plain = ds.load(seen.network, scheduler="ddpm", device="cpu")
    learned = ds.load(seen.network, scheduler=DDPMScheduler(variance_type="learned_range"), device="cpu")
    with torch.no_grad():
        half, whole = (denoiser.predict(x, timestep, inputs) for denoiser in (plain, learned))
    assert torch.equal(half, seen.outputs[0].chunk(2, dim=1)[0])
    assert torch.equal(whole, seen.outputs[0])
    for denoiser, output in ((plain, half), (learned, whole)):
        assert denoiser.scheduler.step(output, 0, x).prev_sample.shape == x.shape


def test_a_network_that_needs_more_than_the_state_among_its_channels_is_refused():
    inpainting = ds.load(made_from(lambda: unet(in_channels=7)), scheduler="ddim", device="cpu")
    one_line(
        rf"returned a tensor \[1, 3, {SIZE}, {SIZE}\] .*allowed: a dense tensor \[1, 7, {SIZE}, {SIZE}\]",
        inpainting.predict,
        torch.zeros(1, 7, SIZE, SIZE),
        torch.tensor(1),
    )
