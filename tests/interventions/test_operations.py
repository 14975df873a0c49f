"""Operations against plain PyTorch hooks in a plain loop, bit for bit, and against the recordings they take from."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import stream
from denoscope.hooks.attention import attention_weights
from denoscope.interventions.spec import Intervention

# diffusers converts tensors with numpy 1's protocol.
NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS, ROWS = 4, 8
LAYER = "mid_block"  # [16, 4, 4]
ATTENTION = "mid_block.attentions.0"


def plain_loop(network, scheduler, x_T, hook, layer=LAYER, **options):
    """x_0 of a plain loop whose plain hook gets the output and the step."""
    step = iter(range(STEPS))
    handle = network.get_submodule(layer).register_forward_hook(
        lambda _m, _a, output: hook(output.clone(), next(step)), **options
    )
    scheduler.set_timesteps(STEPS)
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            x_T = scheduler.step(network(x_T, timestep).sample, timestep, x_T).prev_sample
    handle.remove()
    return x_T


def in_place(change, *, steps=range(STEPS), rows=slice(None), channels=slice(None)):
    """A hook that changes a part of the output in the named steps."""

    def hook(output, step):
        if step in steps:
            output[rows, channels] = change(output[rows, channels])
        return output

    return hook


CASES = {
    "set": (dict(do="set", value=0.25), dict(change=lambda s: torch.full_like(s, 0.25))),
    "set channels": (
        dict(do="set", value=[1.0, 2.0, 3.0], channels="1:4", steps=2),
        dict(change=lambda s: torch.tensor([1.0, 2, 3])[:, None, None].expand_as(s), channels=slice(1, 4), steps=[2]),
    ),
    "add at steps": (
        dict(do="add", value="vector", steps="1:3"),
        dict(change=lambda s: s + VECTOR[:, None, None], steps=[1, 2]),
    ),
    "scale samples": (
        dict(do="scale", value=-0.7, samples=["noise_0002", "noise_0005"]),
        dict(change=lambda s: s * -0.7, rows=[2, 5]),
    ),
    "ablate channels at the last step": (
        dict(do="ablate", channels=[0, 5, -1], steps=-1),
        dict(change=torch.zeros_like, channels=[0, 5, 15], steps=[STEPS - 1]),
    ),
    "ablate by the mean": (
        dict(do="ablate", value="mean", samples="noise_0003"),
        dict(change=lambda s: s[0].contiguous().mean((1, 2), keepdim=True).expand_as(s), rows=[3]),
    ),
    "project out": (
        dict(do="project_out", value="vector", samples="noise_0001"),
        dict(change=lambda s: s - (s[0].contiguous() * UNIT).sum(0, keepdim=True) * UNIT, rows=[1]),
    ),
}  # fmt: skip
VECTOR = torch.randn(16, generator=torch.Generator().manual_seed(5))
UNIT = (VECTOR / torch.linalg.vector_norm(VECTOR.double()).float())[:, None, None]


@pytest.mark.parametrize("case", CASES)
def test_a_kind_equals_a_plain_hook_bit_for_bit(tiny, make_scheduler, x, case, vector):
    fields, by_hand = CASES[case]
    fields = {name: vector if value == "vector" else value for name, value in fields.items()}
    x_T = x.batch(range(ROWS))
    truth = plain_loop(tiny.network, make_scheduler("ddim"), x_T, in_place(**by_hand))
    options = dict(steps=STEPS, names=x.names[:ROWS])
    found = ds.sample(tiny, x_T, interventions=[Intervention(LAYER, **fields)], **options)
    assert torch.equal(found, truth)
    assert not torch.equal(found, ds.sample(tiny, x_T, **options))


def test_noise_is_the_documented_draw(tiny, make_scheduler, x):
    x_T, names = x.batch(range(ROWS)), x.names[:ROWS]

    def draws(step, kind):
        streams = [stream(f"noise at {LAYER}, call 0", 7, step, name=name if kind else "") for name in names]
        return torch.stack([torch.randn(16, 4, 4, generator=drawn) for drawn in streams])

    for kind in ("common", "independent"):
        truth = plain_loop(
            tiny.network, make_scheduler("ddim"), x_T,
            lambda output, step, kind=kind: output + draws(step, kind == "independent") * 0.5,
        )  # fmt: skip
        noise = Intervention(LAYER, "noise", 0.5)
        found = ds.sample(
            tiny, x_T, steps=STEPS, noise=kind, names=names, noise_seed=7, interventions=[noise]
        )
        assert torch.equal(found, truth)


def test_a_function_gets_each_state_and_its_call(tiny, make_scheduler, x):
    x_T, names, calls = x.batch(range(3)), x.names[:3], []

    def double(state, call):
        calls.append(call)
        return state.mul_(2)

    padded = torch.cat([x_T, x_T[-1:].expand(ROWS - 3, -1, -1, -1)])
    truth = plain_loop(tiny.network, make_scheduler("ddim"), padded, lambda output, _step: output * 2)[:3]
    written = [Intervention(LAYER, double)]
    assert torch.equal(ds.sample(tiny, x_T, steps=STEPS, names=names, interventions=written), truth)
    assert [call.step for call in calls] == list(range(STEPS))
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    assert [call.timestep for call in calls] == scheduler.timesteps.tolist()
    assert calls[0].names == names and calls[0].lanes == ROWS and calls[0].branches == ()


def test_interventions_at_one_place_follow_each_other_and_states_are_read_after_them(tiny, x):
    x_T = x.batch(range(2))
    written = [Intervention(LAYER, "add", 1.0), Intervention(LAYER, "scale", 3.0)]
    options = dict(steps=1, layers=[LAYER, f"{LAYER}:before"], interventions=written)
    (step,) = ds.denoise(tiny, x_T, **options)
    assert torch.equal(step.states[LAYER], (step.states[f"{LAYER}:before"] + 1) * 3)


def test_inputs_can_be_written_and_queries_match_several_layers(tiny, x):
    x_T = x.batch(range(2))
    same = ds.sample(tiny, x_T, steps=2, interventions=[Intervention("conv_in", "ablate")])
    into = ds.sample(
        tiny, x_T, steps=2, interventions=[Intervention(["down_blocks.0:in", "up_blocks.1:in"], "scale", 1.0)]
    )
    assert torch.equal(into, ds.sample(tiny, x_T, steps=2))
    convs = [layer.address for layer in tiny.layers() if layer.kind == "Conv2d"]
    every = Intervention("type:Conv2d", "scale", 0.5)
    one_by_one = [Intervention(address, "scale", 0.5) for address in convs]
    assert torch.equal(
        ds.sample(tiny, x_T, steps=2, interventions=[every]),
        ds.sample(tiny, x_T, steps=2, interventions=one_by_one),
    )
    assert not torch.equal(same, into)


@pytest.mark.parametrize("what", ["v", "probs"])
def test_written_attention_equals_an_explicit_softmax(tiny, x, what):
    """Attention written out, with one head's values scaled, or its weights moved to the first token."""
    size = tiny.network.get_submodule(ATTENTION).heads
    x_T, head = x.batch(range(ROWS)), size - 1
    if what == "v":
        change = Intervention(f"{ATTENTION}:v", "scale", 2.0, heads=head, tokens="3:7")
    else:
        first = torch.zeros(16)
        first[0] = 1
        change = Intervention(f"{ATTENTION}:probs", "set", first, heads=head)
    seen = {}

    def attend(q, k, v):
        weights, v = attention_weights(q, k), v.clone()
        if what == "v":
            v[:, head, 3:7] *= 2
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)
        weights[:, head] = 0
        weights[:, head, :, 0] = 1
        return weights @ v

    reading = [f"{ATTENTION}:{part}{':before' if part in ('v', 'probs') else ''}" for part in "qkv"]
    module = tiny.network.get_submodule(ATTENTION)
    handle = module.to_out[0].register_forward_pre_hook(lambda _m, args: seen.update(result=args[0].clone()))
    (step,) = ds.denoise(tiny, x_T, steps=1, layers=reading, interventions=[change])
    handle.remove()
    truth = attend(*(step.states[name] for name in reading)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(seen["result"], truth, rtol=1e-5, atol=1e-6)
    plain = next(iter(ds.denoise(tiny, x_T, steps=1))).x_after
    assert not torch.equal(step.x_after, plain)


@pytest.mark.parametrize(("branch", "half"), [("uncond", 0), ("cond", 1)])
def test_one_branch_of_guidance_is_written(guided, branch, half):
    denoiser, condition, x = guided
    steps = []
    for hand in (False, True):
        handle = denoiser.network.mid_block.register_forward_hook(
            lambda _m, _a, output: output.clone().index_fill_(0, torch.arange(8) + 8 * half, 0.0)
        )
        if not hand:
            handle.remove()
        written = [] if hand else [Intervention("mid_block", "ablate", branches=branch)]
        steps.append(
            ds.sample(denoiser, x.batch(range(2)), steps=2, condition=condition, interventions=written)
        )
        handle.remove()
    assert torch.equal(*steps)


WRITES = {
    "set": (0.3, lambda s, v: torch.full_like(s, v)),
    "add": ([1.0, -2.0, 0.5], lambda s, _v: s + torch.tensor([1.0, -2.0, 0.5, *[0.0] * (s.shape[-1] - 3)])),
    "scale": (-0.7, lambda s, v: s * v),
    "ablate": (None, lambda s, _v: torch.zeros_like(s)),
}


@pytest.mark.parametrize("do", WRITES)
def test_all_restrictions_together_equal_a_plain_hook_bit_for_bit(guided, do):
    """Tokens and channels of a transformer block, in one branch of one sample, in some steps."""
    denoiser, condition, x = guided
    layer = "down_blocks.0.attentions.0.transformer_blocks.0"
    value, change = WRITES[do]
    places = dict(steps="1:", branches="cond", samples="noise_0001", channels="0:3", tokens=[0, 5])
    options = dict(steps=3, lanes=2, names=x.names, condition=condition)
    found = ds.sample(
        denoiser, x.batch(range(2)), interventions=[Intervention(layer, do, value, **places)], **options
    )
    step = iter(range(3))

    def hook(_module, _args, output):
        if next(step) < 1:
            return output
        # The rows of uncond come first.
        written = output.clone()
        for token in (0, 5):
            written[3, token, :3] = change(output, value)[3, token, :3]
        return written

    handle = denoiser.network.get_submodule(layer).register_forward_hook(hook)
    by_hand = ds.sample(denoiser, x.batch(range(2)), **options)
    handle.remove()
    assert torch.equal(found, by_hand)
    plain = ds.sample(denoiser, x.batch(range(2)), **options)
    assert torch.equal(found[0], plain[0]) and not torch.equal(found[1], plain[1])


@NUMPY_2
def test_single_calls_of_a_step_are_written(make_unet, x):
    denoiser = ds.load(make_unet(), scheduler="HeunDiscreteScheduler", device="cpu")
    read = []
    for calls in (None, 0, 1):
        written = [Intervention(LAYER, "ablate", calls=calls, steps="0:2")]
        steps = list(ds.denoise(denoiser, x.batch([0]), steps=3, layers=[LAYER], interventions=written))
        read.append([[bool(call.any()) for call in step.states[LAYER][0]] for step in steps])
    assert read[0] == [[False, False], [False, False], [True, True]]
    assert read[1] == [[False, True], [False, True], [True, True]]
    assert read[2] == [[True, False], [True, False], [True, True]]


def test_a_recording_swapped_into_itself_changes_no_bit(record, tiny, x, tmp_path):
    x = x.subset(range(3))
    plain = record(tiny, x, tmp_path / "a.zarr", layers=["type:ResnetBlock2D", ATTENTION + ":v", "conv_out"])
    swaps = [Intervention(list(plain.states), "swap", plain.path)]
    again = record(tiny, x, tmp_path / "b.zarr", interventions=swaps)
    assert again.sequence.to_numpy().tobytes() == plain.sequence.to_numpy().tobytes()


@NUMPY_2
def test_calls_and_branches_are_swapped_separately(guided, tmp_path):
    pipe, condition, x = guided
    denoiser = ds.load(pipe.network, scheduler="HeunDiscreteScheduler", device="cpu")
    options = dict(steps=3, layers=[LAYER, "conv_out"], condition=condition, lanes=2)
    plain = ds.record(denoiser, x, tmp_path / "a.zarr", **options)
    assert {"call", "branch"} <= set(plain.states[LAYER].dims)
    swap = Intervention([LAYER, "conv_out"], "swap", plain.path)
    again = ds.record(denoiser, x, tmp_path / "b.zarr", interventions=[swap], **options)
    other = ds.record(
        denoiser,
        ds.noise.random(2, denoiser.shape, seed=8),
        tmp_path / "c.zarr",
        interventions=[swap],
        **options,
    )
    assert again.sequence.to_numpy().tobytes() == plain.sequence.to_numpy().tobytes()
    for layer in options["layers"]:
        assert np.array_equal(other.states[layer], plain.states[layer], equal_nan=True)
    with pytest.raises(UserError, match=r"holds the branches \['uncond', 'cond'\], this run has \[\]"):
        alone = ds.Condition(condition.inputs)
        ds.sample(denoiser, x.batch([0, 1]), steps=3, condition=alone, names=x.names, interventions=[swap])


def test_swapping_the_last_layer_swaps_the_result(tiny, x, source):
    names = [f"sample_{k:04d}" for k in range(12)]
    swap = Intervention("conv_out", "swap", source)
    steps = list(ds.denoise(tiny, x.batch(range(12)), names=names, steps=STEPS, interventions=[swap]))
    outputs = ds.open(source).states["conv_out"].to_numpy()
    assert all(torch.equal(step.model_output, torch.from_numpy(outputs[:, step.index])) for step in steps)


def test_a_swap_takes_the_sample_that_source_names(tiny, x, source):
    names, outputs = ["p", "q"], ds.open(source).states["conv_out"].to_numpy()[:, 0]
    for sample, rows in (("sample_0004", [4, 4]), ({"p": "sample_0002", "q": "sample_0010"}, [2, 10])):
        swap = Intervention("conv_out", "swap", source, source=sample)
        step = next(iter(ds.denoise(tiny, x.batch([0, 1]), names=names, steps=STEPS, interventions=[swap])))
        assert torch.equal(step.model_output, torch.from_numpy(outputs[rows]))
    only = Intervention("conv_out", "swap", source, samples="q", source={"q": "sample_0001"})
    step = next(iter(ds.denoise(tiny, x.batch([0, 1]), names=names, steps=STEPS, interventions=[only])))
    assert torch.equal(step.model_output[1], torch.from_numpy(outputs[1]))
    assert not torch.equal(step.model_output[0], torch.from_numpy(outputs[0]))


def test_ablation_by_a_recording_equals_the_mean_of_its_samples(tiny, x, source):
    written = [Intervention(LAYER, "ablate", source)]
    mean = ds.open(source).states[LAYER].to_numpy().astype(np.float64).mean(0)
    for step in ds.denoise(tiny, x.batch([0]), steps=STEPS, layers=[LAYER], interventions=written):
        np.testing.assert_allclose(step.states[LAYER][0], mean[step.index], rtol=1e-6, atol=1e-7)


def test_a_function_that_returns_another_shape_is_an_error(tiny, x):
    for wrong in (lambda state, _call: state[0], lambda _state, _call: None):
        with pytest.raises(UserError, match=r"for a state of shape \[8, 16, 4, 4\]"):
            ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, wrong)])
