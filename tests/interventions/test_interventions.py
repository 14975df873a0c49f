"""Interventions against hand-made PyTorch hooks in a plain loop, bit for bit; their plan; what is refused."""

import json
import math
import re

import numpy as np
import pytest
import tiny_models
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

import denoscope as ds
from denoscope.cli import command
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import stream
from denoscope.hooks.attention import attention_weights
from denoscope.interventions.plan_file import read_plan, write_plan
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.recording import verify

# Of diffusers' own code: torch tensors taken to numpy 2.
NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS, ROWS = 4, 8
LAYER = "mid_block"  # [16, 4, 4]
ATTENTION = "mid_block.attentions.0"


@pytest.fixture
def x(tiny):
    return ds.noise.random(12, tiny.shape, seed=1)


@pytest.fixture(scope="module")
def vector():
    return torch.randn(16, generator=torch.Generator().manual_seed(5))


def plain_loop(network, scheduler, x_T, hook, layer=LAYER, **options):
    """x_0 of a plain loop in which a plain hook is told the step."""
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
def test_a_kind_is_what_a_hand_made_hook_does_bit_for_bit(tiny, make_scheduler, x, case, vector):
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


def test_a_function_sees_each_state_and_when_it_is(tiny, make_scheduler, x):
    x_T, names, moments = x.batch(range(3)), x.names[:3], []

    def double(state, moment):
        moments.append(moment)
        return state.mul_(2)

    padded = torch.cat([x_T, x_T[-1:].expand(ROWS - 3, -1, -1, -1)])
    truth = plain_loop(tiny.network, make_scheduler("ddim"), padded, lambda output, _step: output * 2)[:3]
    written = [Intervention(LAYER, double)]
    assert torch.equal(ds.sample(tiny, x_T, steps=STEPS, names=names, interventions=written), truth)
    assert [moment.step for moment in moments] == list(range(STEPS))
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    assert [moment.timestep for moment in moments] == scheduler.timesteps.tolist()
    assert moments[0].names == names and moments[0].lanes == ROWS and moments[0].branches == ()


def test_interventions_at_one_place_follow_each_other_and_are_read_behind_unless_told_before(tiny, x):
    x_T = x.batch(range(2))
    written = [Intervention(LAYER, "add", 1.0), Intervention(LAYER, "scale", 3.0)]
    options = dict(steps=1, layers=[LAYER, f"{LAYER}:before"], interventions=written)
    (step,) = ds.denoise(tiny, x_T, **options)
    assert torch.equal(step.states[LAYER], (step.states[f"{LAYER}:before"] + 1) * 3)


def test_inputs_and_queries_are_written_too(tiny, x):
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
def test_attention_is_written_as_in_an_explicit_softmax(tiny, x, what):
    """One head's values scaled, or its weights turned to the first token alone, with everything written out."""
    size = tiny.network.get_submodule(ATTENTION).heads
    x_T, moment_heads = x.batch(range(ROWS)), size - 1
    if what == "v":
        change = Intervention(f"{ATTENTION}:v", "scale", 2.0, heads=moment_heads, tokens="3:7")
    else:
        first = torch.zeros(16)
        first[0] = 1
        change = Intervention(f"{ATTENTION}:probs", "set", first, heads=moment_heads)
    seen = {}

    def attend(q, k, v):
        weights, v = attention_weights(q, k), v.clone()
        if what == "v":
            v[:, moment_heads, 3:7] *= 2
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)
        weights[:, moment_heads] = 0
        weights[:, moment_heads, :, 0] = 1
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


@pytest.fixture(scope="module")
def guided():
    """A UNet with prompts, its condition for two samples, and their noises."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = tiny_models.conditional_unet().eval()
        words, empty = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    denoiser = ds.load(network, scheduler=DDIMScheduler(clip_sample=False), device="cpu")
    condition = Condition({"encoder_hidden_states": words}, {"encoder_hidden_states": empty}, 3.0)
    return denoiser, condition, ds.noise.random(2, denoiser.shape, seed=2)


@pytest.mark.parametrize(("branch", "half"), [("uncond", 0), ("cond", 1)])
def test_one_branch_of_guidance_is_written_alone(guided, branch, half):
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
def test_all_places_at_once_are_those_of_a_plain_hook_bit_for_bit(guided, do):
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
        # Of the rows, those of uncond come first.
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
def test_calls_of_a_step_are_written_one_by_one(make_unet, x):
    denoiser = ds.load(make_unet(), scheduler="HeunDiscreteScheduler", device="cpu")
    read = []
    for calls in (None, 0, 1):
        written = [Intervention(LAYER, "ablate", calls=calls, steps="0:2")]
        steps = list(ds.denoise(denoiser, x.batch([0]), steps=3, layers=[LAYER], interventions=written))
        read.append([[bool(call.any()) for call in step.states[LAYER][0]] for step in steps])
    assert read[0] == [[False, False], [False, False], [True, True]]
    assert read[1] == [[False, True], [False, True], [True, True]]
    assert read[2] == [[True, False], [True, False], [True, True]]


def record(denoiser, x, out, **options):
    return ds.record(denoiser, x, out, **{"steps": STEPS, "layers": [LAYER, "conv_out"]} | options)


@pytest.fixture(scope="module")
def donor(tiny, tmp_path_factory):
    x = ds.noise.random(12, tiny.shape, seed=9)
    return record(tiny, x, tmp_path_factory.mktemp("donors") / "b.zarr").path


ALL = [
    Intervention(LAYER, "noise", 0.1),
    Intervention(LAYER, "ablate", "mean", channels="0:4", steps="0:2"),
    Intervention("conv_in", "project_out", list(range(8)), samples=["sample_0001", "sample_0009"]),
    Intervention("conv_in", "add", 0.1, channels=3),
]


@pytest.mark.parametrize("kind", ["common", "independent"])
@pytest.mark.parametrize("order", [range(12), (7,), (11, 3, 1), range(12)[::-1]])
def test_the_bits_of_a_sample_depend_on_no_batch_order_or_subset(tiny, x, donor, tmp_path, order, kind):
    plan = [*ALL, Intervention("up_blocks.1", "scale", 0.9), Intervention("conv_out", "swap", donor, steps=1),
            Intervention(LAYER, "ablate", donor, steps=3)]  # fmt: skip
    whole = record(tiny, x, tmp_path / "a.zarr", interventions=plan, noise=kind)
    part = record(
        tiny,
        x.subset(order),
        tmp_path / "b.zarr",
        interventions=plan,
        noise=kind,
        batch_size=16,
        flatten=False,
    )
    for name in (None, LAYER):
        one, other = (rec.sequence if name is None else rec.states[name] for rec in (whole, part))
        assert one.sel(sample=other["sample"]).to_numpy().tobytes() == other.to_numpy().tobytes()


def test_a_recording_swapped_into_itself_changes_no_bit(tiny, x, tmp_path):
    plain = record(tiny, x, tmp_path / "a.zarr", layers=["type:ResnetBlock2D", ATTENTION + ":v", "conv_out"])
    swaps = [Intervention(list(plain.states), "swap", plain.path)]
    again = record(tiny, x, tmp_path / "b.zarr", interventions=swaps)
    assert again.sequence.to_numpy().tobytes() == plain.sequence.to_numpy().tobytes()


@NUMPY_2
def test_calls_and_branches_are_swapped_each_for_itself(guided, tmp_path):
    pipe, condition, x = guided
    denoiser = ds.load(pipe.network, scheduler="HeunDiscreteScheduler", device="cpu")
    options = dict(steps=3, layers=[LAYER, "conv_out"], condition=condition)
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


def test_the_last_layer_of_another_makes_its_outputs_ones_own(tiny, x, donor):
    names = [f"sample_{k:04d}" for k in range(12)]
    swap = Intervention("conv_out", "swap", donor)
    steps = list(ds.denoise(tiny, x.batch(range(12)), names=names, steps=STEPS, interventions=[swap]))
    outputs = ds.open(donor).states["conv_out"].to_numpy()
    assert all(torch.equal(step.model_output, torch.from_numpy(outputs[:, step.index])) for step in steps)


def test_a_swap_can_name_its_source(tiny, x, donor):
    names, outputs = ["p", "q"], ds.open(donor).states["conv_out"].to_numpy()[:, 0]
    for source, rows in (("sample_0004", [4, 4]), ({"p": "sample_0002", "q": "sample_0010"}, [2, 10])):
        swap = Intervention("conv_out", "swap", donor, source=source)
        step = next(iter(ds.denoise(tiny, x.batch([0, 1]), names=names, steps=STEPS, interventions=[swap])))
        assert torch.equal(step.model_output, torch.from_numpy(outputs[rows]))
    only = Intervention("conv_out", "swap", donor, samples="q", source={"q": "sample_0001"})
    step = next(iter(ds.denoise(tiny, x.batch([0, 1]), names=names, steps=STEPS, interventions=[only])))
    assert torch.equal(step.model_output[1], torch.from_numpy(outputs[1]))
    assert not torch.equal(step.model_output[0], torch.from_numpy(outputs[0]))


def test_ablation_by_a_recording_puts_the_mean_of_its_samples(tiny, x, donor):
    written = [Intervention(LAYER, "ablate", donor)]
    mean = ds.open(donor).states[LAYER].to_numpy().astype(np.float64).mean(0)
    for step in ds.denoise(tiny, x.batch([0]), steps=STEPS, layers=[LAYER], interventions=written):
        np.testing.assert_allclose(step.states[LAYER][0], mean[step.index], rtol=1e-6, atol=1e-7)


PLAN = [
    Intervention("mid_block", "scale", 0.5, steps="0:2", channels=[0, 3]),
    Intervention(["conv_in", "!conv_out"], "add", [float(k) for k in range(8)], samples=["sample_0001"]),
    Intervention("conv_out", "ablate"),
]


def test_a_plan_is_a_small_file_that_can_be_written_and_read(tmp_path, vector):
    write_plan(PLAN, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == PLAN
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["interventions"][0] == {
        "at": ["mid_block"], "do": "scale", "value": 0.5, "steps": "0:2", "channels": "0,3"
    }  # fmt: skip
    write_plan([Intervention("mid_block", "add", vector)], tmp_path / "plan.json")
    (found,) = read_plan(tmp_path / "plan.json")
    assert torch.equal(torch.tensor(found.value), vector)


def test_paths_in_a_plan_start_from_its_folder(tiny, x, tmp_path, vector, monkeypatch):
    (tmp_path / "shared").mkdir()
    torch.save(vector, tmp_path / "shared" / "v.pt")
    write_plan(
        [Intervention("mid_block", "add", tmp_path / "shared" / "v.pt")], tmp_path / "shared" / "p.json"
    )
    assert '"v.pt"' in (tmp_path / "shared" / "p.json").read_text()
    monkeypatch.chdir(tmp_path)
    (found,) = read_plan("shared/p.json")
    here = ds.sample(tiny, x.batch([0]), steps=1, interventions=[found])
    assert torch.equal(
        here, ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention("mid_block", "add", vector)])
    )


def test_the_same_numbers_are_the_same_value_however_they_are_given(tiny, x, tmp_path, vector):
    torch.save(vector, tmp_path / "v.pt")
    np.save(tmp_path / "v.npy", vector.numpy())
    save_file({"direction": vector}, tmp_path / "v.safetensors")
    given = [
        vector,
        vector.tolist(),
        vector.numpy(),
        *(tmp_path / f"v.{end}" for end in ("pt", "npy", "safetensors")),
    ]
    runs = [
        record(tiny, x.subset([0]), tmp_path / f"{k}.zarr", steps=1, interventions=[Intervention(LAYER, "add", value)])
        for k, value in enumerate(given)
    ]  # fmt: skip
    assert len({json.dumps(run.attrs["fingerprint"]) for run in runs}) == 1
    assert len({run.final.to_numpy().tobytes() for run in runs}) == 1


def test_a_plan_is_in_the_provenance_and_resume_holds_to_it(tiny, x, tmp_path):
    rec = record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=PLAN[:1])
    assert rec.attrs["interventions"] == json.loads(json.dumps(rec.attrs["interventions"]))
    (resolved,) = rec.attrs["fingerprint"]["interventions"]
    assert resolved["at"] == ["mid_block"] and len(resolved["value"]["sha256"]) == 64
    record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=PLAN[:1], resume=True)
    for other in ([], [Intervention("mid_block", "scale", 0.4, steps="0:2", channels=[0, 3])]):
        with pytest.raises(UserError, match="interventions: "):
            record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=other, resume=True)


def halve(state, _moment):
    return state / 2


def test_a_function_stands_by_its_name(tiny, x, tmp_path):
    written = [Intervention("mid_block", halve)]
    rec = record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=written)
    assert rec.attrs["fingerprint"]["interventions"][0]["function"] == f"{__name__}.halve"
    record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=written, resume=True)
    with pytest.raises(UserError, match="interventions: "):
        record(
            tiny, x, tmp_path / "a.zarr", steps=2, resume=True,
            interventions=[Intervention("mid_block", lambda state, _moment: state / 2)],
        )  # fmt: skip
    with pytest.raises(UserError, match="halve at mid_block: a plan cannot hold a function"):
        write_plan(written, tmp_path / "plan.json")


@pytest.fixture
def mine(model, tmp_path):
    """The folder of a small model's inputs and its plan, for the command."""
    x = ds.noise.random(5, (1, 8, 8), seed=4)
    x.write(tmp_path / "inputs")
    write_plan([Intervention("mid_block", "scale", 0.0, samples="sample_0003")], tmp_path / "plan.json")
    return [
        "record",
        "--model",
        model,
        "--device",
        "cpu",
        "--inputs",
        str(tmp_path / "inputs"),
        "--num_steps",
        "2",
    ]


def test_the_command_takes_a_plan_and_its_samples_can_be_computed_again(mine, tmp_path, capsys):
    plain, out = str(tmp_path / "plain.zarr"), str(tmp_path / "run.zarr")
    command.main([*mine, "--output", plain])
    command.main([*mine, "--output", out, "--intervene", str(tmp_path / "plan.json")])
    one, other = (ds.open(path).final.to_numpy() for path in (plain, out))
    assert [np.array_equal(a, b) for a, b in zip(one, other, strict=True)] == [True] * 3 + [False, True]
    (tmp_path / "plan.json").unlink()  # the recording holds the plan
    assert verify.store(tmp_path / "run.zarr", recompute=5).sound
    capsys.readouterr()


def test_a_dry_run_says_what_is_written_where(mine, tmp_path, capsys):
    (tmp_path / "plan.json").write_text(
        '{"interventions": [{"at": "*_blocks.0", "do": "scale", "value": 2}]}'
    )
    command.main(
        [*mine, "--output", str(tmp_path / "a"), "--intervene", str(tmp_path / "plan.json"), "--dry_run"]
    )
    assert "  written: scale at down_blocks.0, up_blocks.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (["sample_0003", "other"], " in 1 of 5 samples"),
        ("noise_0003", ": nowhere, since no sample is named noise_0003 (the first is sample_0000)"),
    ],
)
def test_a_dry_run_says_in_how_many_samples_something_is_written(mine, tmp_path, capsys, samples, told):
    write_plan([Intervention("mid_block", "scale", 0.0, samples=samples)], tmp_path / "plan.json")
    command.main(
        [*mine, "--output", str(tmp_path / "a"), "--intervene", str(tmp_path / "plan.json"), "--dry_run"]
    )
    assert f"  written: scale at mid_block{told}\n" in capsys.readouterr().out


def test_what_cannot_be_had_again_is_not_computed_again(model, tmp_path, vector):
    denoiser, x = ds.load(model, device="cpu"), ds.noise.random(2, (1, 8, 8))
    record(denoiser, x, tmp_path / "f.zarr", steps=1, interventions=[Intervention("mid_block", halve)])
    with pytest.raises(UserError, match="halve is not part of a plan"):
        verify.store(tmp_path / "f.zarr", recompute=1)
    np.save(tmp_path / "v.npy", vector.numpy())
    record(
        denoiser,
        x,
        tmp_path / "v.zarr",
        steps=1,
        interventions=[Intervention("mid_block", "add", tmp_path / "v.npy")],
    )
    assert verify.store(tmp_path / "v.zarr", recompute=1).sound
    np.save(tmp_path / "v.npy", vector.numpy() * 2)
    with pytest.raises(UserError, match="not what it was"):
        verify.store(tmp_path / "v.zarr", recompute=1)


WRONG_FIELDS = [
    (dict(at="", do="scale", value=1), "'at' of an intervention is empty"),
    (
        dict(at="mid_block", do="scal", value=1),
        "'do' of an intervention is 'scal'; the nearest is scale; allowed: set, add",
    ),
    (dict(at="mid_block", do="scale"), "allowed: a number"),
    (dict(at="mid_block", do="set", value="mean"), "allowed: a number"),
    (dict(at="mid_block", do="swap", value=3), "allowed: a recording"),
    (dict(at="mid_block", do="noise", value=-1), "value is -1; allowed: a standard deviation"),
    *(
        (dict(at="mid_block", do="noise", value=value), f"value is {value}; allowed: a standard deviation")
        for value in (math.inf, math.nan, True, 0)
    ),
    (dict(at="mid_block", do="scale", value=True), "value is True; allowed: a number"),
    (dict(at="mid_block", do=halve, value=1), "value is 1; allowed: nothing"),
    (dict(at="mid_block", do="ablate", value=1), "zero, mean, or a recording"),
    (dict(at="mid_block", do="scale", value=1, source="a"), "only swap has a source"),
    (dict(at="mid_block", do="scale", value=1, steps=1.5), "'steps' of an intervention is 1.5"),
    (dict(at="mid_block", do="scale", value=1, samples=[1]), "'samples' of an intervention is"),
]


@pytest.mark.parametrize(("fields", "match"), WRONG_FIELDS)
def test_a_wrong_field_is_refused(fields, match):
    with pytest.raises(UserError, match=match) as caught:
        Intervention(**fields)
    assert "\n" not in str(caught.value)


UNFIT = [
    (dict(do="add", value=[1.0] * 15), r"shape \[15\] does not fit .* \[16, 4, 4\]"),
    (dict(do="add", value=[1.0] * 16, channels="0:8"), r"\[16\] does not fit .* \[8, 4, 4\]"),
    (dict(do="set", value=[[1.0] * 3] * 3), r"\[3, 3\] does not fit .* \[16, 4, 4\]"),
    (dict(do="project_out", value=0.0), "one number for each channel"),
    (dict(do="add", value=math.nan), "finite"),
    (dict(do="add", value=["a"]), "allowed: a number or a regular list"),
    (dict(do="scale", value=1, channels="16:"), "channels '16:' does not fit .*; allowed: .* 0 to 15"),
    (dict(do="ablate", channels="16:"), "channels '16:' does not fit"),
    (dict(do="noise", value=1, tokens="0"), "has no tokens"),
    (dict(do="scale", value=1, channels="a"), "channels 'a' is not a choice of indices"),
    (dict(do="scale", value=1, tokens="0"), "has no tokens"),
    (dict(do="scale", value=1, heads="0"), "has no heads"),
    (dict(do="scale", value=1, steps=[0, STEPS]), "steps '0,4' does not fit"),
    (dict(do="scale", value=1, calls=1), "calls '1' does not fit"),
    (dict(do="scale", value=1, branches="cond"), "no branch 'cond'; allowed: none"),
    (dict(do="scale", value=1, samples="a"), "give names="),
    (dict(do="scale", value=1, at="mid_blok"), "unknown layer 'mid_blok'; the nearest are mid_block"),
    (dict(do="scale", value=1, at="mid_block.resnets.0:diff"), ":diff and :before are read, not written"),
    (dict(do="scale", value=1, at="mid_block:before"), ":diff and :before are read, not written"),
    (dict(do="add", value="nowhere.pt"), "no such file"),
    (dict(do="add", value="nowhere.txt"), "not a file of a tensor; allowed: .pt"),
    (dict(do="add", value="nowhere.npy"), "cannot read nowhere.npy"),
    (dict(do="swap", value="nowhere.zarr"), "no such recording"),
]


@pytest.mark.parametrize(("fields", "match"), UNFIT)
def test_what_does_not_fit_is_refused_before_any_work(tiny, x, fields, match, tmp_path):
    at = fields.get("at", LAYER)
    item = Intervention(**{"at": at} | fields)
    with pytest.raises(UserError, match=match) as caught:
        ds.sample(tiny, x.batch([0]), steps=STEPS, interventions=[item])
    assert "\n" not in str(caught.value)
    if "samples" not in fields:
        with pytest.raises(UserError, match=match):
            record(tiny, x, tmp_path / "a.zarr", interventions=[item])
        assert not (tmp_path / "a.zarr").exists()


def test_a_pickle_is_refused(tiny, x, tmp_path):
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"v\.npy"):
        ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, "add", tmp_path / "v.npy")])


def test_a_swap_with_another_run_is_refused(tiny, make_unet, make_scheduler, x, donor, tmp_path):
    other = ds.load(make_unet(seed=1), scheduler=make_scheduler("ddim"), device="cpu")
    trailing = ds.load(
        make_unet(), scheduler=make_scheduler("ddim", timestep_spacing="trailing"), device="cpu"
    )
    part = record(tiny, x, tmp_path / "part.zarr", channels="0:4").path
    every = record(tiny, x, tmp_path / "every.zarr", every=(2,)).path
    for denoiser, path, layer, steps, names, match in (
        (tiny, donor, LAYER, 3, None, "recorded in 4 steps, this run takes 3"),
        (other, donor, LAYER, STEPS, None, "from a model with other weights"),
        (trailing, donor, LAYER, STEPS, None, "other timesteps"),
        (tiny, donor, "conv_in", STEPS, None, "does not hold layer 'conv_in'; it holds"),
        (
            tiny,
            part,
            LAYER,
            STEPS,
            None,
            re.escape("[4, 4, 4] of layer 'mid_block', whose own shape is [16, 4, 4]"),
        ),
        (tiny, every, LAYER, STEPS, None, "does not hold the states of step 1"),
        (tiny, donor, LAYER, STEPS, None, "give names="),
        (tiny, donor, LAYER, STEPS, ["a"], "has no sample 'a'"),
    ):
        with pytest.raises(UserError, match=match):
            ds.sample(
                denoiser,
                x.batch([0]),
                steps=steps,
                names=names,
                interventions=[Intervention(layer, "swap", path)],
            )


def test_a_function_that_returns_another_shape_is_refused(tiny, x):
    for wrong in (lambda state, _moment: state[0], lambda _state, _moment: None):
        with pytest.raises(UserError, match=r"for a state of shape \[8, 16, 4, 4\]"):
            ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, wrong)])


def test_fast_and_two_plans_are_refused(tiny, x, tmp_path):
    write_plan(PLAN, tmp_path / "plan.json")
    with pytest.raises(UserError, match="fast"):
        record(tiny, x, tmp_path / "a.zarr", interventions=PLAN, fast=True)
    with pytest.raises(UserError, match="both given"):
        record(tiny, x, tmp_path / "a.zarr", interventions=PLAN, intervene=tmp_path / "plan.json")


PLANS = [
    ("{", "not a plan of interventions"),
    ("[]", "not a plan of interventions; allowed:"),
    ('{"interventions": 3}', "allowed:"),
    ('{"interventions": [], "format_version": 2}', "format version 2"),
    ('{"interventions": [], "formt": 2}', "unknown key 'formt'; the nearest are format"),
    ('{"interventions": [3]}', "an intervention is 3"),
    ('{"interventions": [{"at": "a"}]}', "lacks 'do'"),
    ('{"interventions": [{"at": "a", "do": "scale", "value": 1, "step": 1}]}', "unknown key 'step'; the nearest are steps"),
    ('{"interventions": [{"at": "a", "do": "ablat"}]}', "'ablat'; the nearest is ablate"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "match"), PLANS)
def test_a_wrong_plan_is_told_in_one_line(mine, tmp_path, capsys, content, match):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        command.main(
            [*mine, "--output", str(tmp_path / "run.zarr"), "--intervene", str(tmp_path / "plan.json")]
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and "plan.json" in line and re.search(match, line)
    assert not (tmp_path / "run.zarr").exists()


def test_no_hook_is_left_behind(tiny, x, hooks_of):
    before = hooks_of(tiny.network)
    ds.sample(tiny, x.batch([0]), steps=1, interventions=[Intervention(LAYER, "scale", 2.0)])
    assert hooks_of(tiny.network) == before
