"""Runs of one network that alternate, are nested, are aborted or run in threads do not change each other's bits."""

import threading

import pytest
import torch
from torch.overrides import _get_current_function_mode

import denoscope as ds

STEPS = 3
# diffusers converts tensors with numpy 1's protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
INTERVENTIONS = [
    ds.Intervention("mid_block", "scale", 1.7),
    ds.Intervention("mid_block.attentions.0:probs", "ablate", heads=0),
    ds.Intervention("conv_in", "noise", 0.5),
    ds.Intervention("up_blocks.0:in", "add", 0.3),
]
LAYERS = ["mid_block", "mid_block.attentions.0:q", "conv_in:in", "mid_block:diff"]


@pytest.fixture(scope="module", params=["DDIMScheduler", "HeunDiscreteScheduler"])
def denoiser(request, make_small_unet):
    """One denoiser for all tests, none of which may leave anything behind: one block with attention of two heads."""
    network = make_small_unet(add_attention=True, attention_head_dim=4)
    return ds.load(network, scheduler=request.param, device="cpu")


@pytest.fixture(scope="module")
def x_T(denoiser):
    return ds.noise.random(3, denoiser.shape, seed=1).batch(range(3))


def run(denoiser, x_T, **options):
    return ds.denoise(denoiser, x_T, steps=STEPS, lanes=len(x_T), **options)


def bits(steps):
    """All numbers of a run, as bytes."""
    return [
        {"x": step.x_after.numpy().tobytes()}
        | {name: state.numpy().tobytes() for name, state in step.states.items()}
        for step in steps
    ]


@pytest.fixture(scope="module")
def alone(denoiser, x_T):
    """The bits of a clean run, of one with interventions, and of one with taps, each by itself."""
    clean, changed = bits(run(denoiser, x_T)), bits(run(denoiser, x_T, interventions=INTERVENTIONS))
    assert clean[-1] != changed[-1]
    return {
        "clean": clean,
        "changed": changed,
        "tapped": bits(run(denoiser, x_T, layers=LAYERS)),
    }


def runs(denoiser, x_T):
    return {
        "clean": run(denoiser, x_T),
        "changed": run(denoiser, x_T, interventions=INTERVENTIONS),
        "tapped": run(denoiser, x_T, layers=LAYERS),
    }


@pytest.mark.parametrize("order", [("changed", "clean", "tapped"), ("clean", "tapped", "changed")])
def test_runs_that_take_turns(denoiser, x_T, alone, order):
    several = runs(denoiser, x_T)
    turns = list(zip(*(several[name] for name in order), strict=True))
    for place, name in enumerate(order):
        assert bits([turn[place] for turn in turns]) == alone[name]


def test_a_run_within_the_steps_of_another(denoiser, x_T, alone):
    outer = []
    for step in run(denoiser, x_T, interventions=INTERVENTIONS):
        outer.append(step)
        assert bits(run(denoiser, x_T)) == alone["clean"]
        x = x_T[:1].clone()
        with torch.no_grad():
            assert torch.equal(denoiser.predict(x, torch.tensor(5)), denoiser.predict(x, torch.tensor(5)))
    assert bits(outer) == alone["changed"]


def test_a_run_within_a_call_of_another(denoiser, x_T, alone):
    """An intervention's function runs the same network itself."""
    inner = []

    def nested(state, call):
        if call.step == 0 and call.call == 0:
            inner.append(bits(run(denoiser, x_T)))
            inner.append(bits(run(denoiser, x_T, layers=LAYERS)))
        return state

    for address in ("mid_block", "mid_block.attentions.0:probs", "mid_block.attentions.0.to_q"):
        inner.clear()
        written = [ds.Intervention(address, nested), *INTERVENTIONS]
        changed = bits(run(denoiser, x_T, interventions=written))
        assert inner == [alone["clean"], alone["tapped"]]
        if not address.endswith(
            "probs"
        ):  # attention weights computed outside the fused kernel are rounded differently
            assert changed == alone["changed"]


def test_a_run_that_is_broken_off(denoiser, x_T, alone, hooks_of):
    before = hooks_of(denoiser.network)
    broken = run(denoiser, x_T, interventions=INTERVENTIONS, layers=LAYERS)
    next(broken)
    assert hooks_of(denoiser.network) == before and _get_current_function_mode() is None
    assert torch.is_grad_enabled(), "a run that is left half-way leaves no setting behind"
    assert bits(run(denoiser, x_T)) == alone["clean"]

    def fail(_state, call):
        if call.step == 1:
            raise RuntimeError("on purpose")
        return _state

    with pytest.raises(RuntimeError, match="on purpose"):
        list(
            run(
                denoiser,
                x_T,
                interventions=[*INTERVENTIONS, ds.Intervention("mid_block", fail)],
                layers=LAYERS,
            )
        )
    assert hooks_of(denoiser.network) == before and _get_current_function_mode() is None
    assert bits(run(denoiser, x_T)) == alone["clean"]
    broken.close()


def test_runs_in_threads_that_meet_in_every_call(denoiser, x_T, alone):
    """Each thread waits for the others within each of its network calls, so that all are under way at once."""
    names = ["clean", "changed", "tapped", "changed"]
    barrier, found, errors = threading.Barrier(len(names), timeout=60), {}, []
    several = [runs(denoiser, x_T)[name] for name in names]

    def meet(_module, _args):
        barrier.wait()

    def work(place):
        try:
            found[place] = bits(several[place])
        except Exception as error:
            errors.append(error)
            barrier.abort()

    handle = denoiser.network.mid_block.register_forward_pre_hook(meet)
    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handle.remove()
    assert not errors
    assert [found[place] for place in range(len(names))] == [alone[name] for name in names]


@pytest.mark.parametrize("wrt", ["x_T", "mid_block"])
def test_a_gradient_beside_a_run_with_interventions(denoiser, x_T, alone, wrt):
    def gradient(interventions=()):
        return ds.gradient(
            denoiser,
            x_T,
            lambda x_0: x_0.square().sum((1, 2, 3)),
            wrt=wrt,
            steps=STEPS,
            lanes=len(x_T),
            interventions=interventions,
        )

    truth, changed_truth = gradient(), gradient(INTERVENTIONS)
    assert not torch.equal(truth, changed_truth)
    steps = []
    for step in run(denoiser, x_T, interventions=INTERVENTIONS):
        steps.append(step)
        if step.index == 1:
            assert torch.equal(gradient(), truth)
            assert torch.equal(gradient(INTERVENTIONS), changed_truth)
    assert bits(steps) == alone["changed"]


def test_a_recording_beside_a_run_with_interventions(denoiser, tmp_path, x_T, alone):
    x, steps, options = (
        ds.noise.random(3, denoiser.shape, seed=1),
        [],
        {"steps": STEPS, "lanes": len(x_T), "layers": ["mid_block"]},
    )
    for step in run(denoiser, x_T, interventions=INTERVENTIONS):
        steps.append(step)
        if step.index == 1:
            clean = ds.record(denoiser, x, tmp_path / "clean.zarr", **options)
            changed = ds.record(
                denoiser, x, tmp_path / "changed.zarr", interventions=INTERVENTIONS, **options
            )
    assert clean.final.to_numpy().tobytes() == alone["clean"][-1]["x"]
    assert changed.final.to_numpy().tobytes() == bits(steps)[-1]["x"] == alone["changed"][-1]["x"]
