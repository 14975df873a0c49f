"""`denoscope record --labels`: networks that take a class."""

import json
from pathlib import Path

import pytest
import tiny_models
import torch
from command_line import call, load

import denoscope as ds
from denoscope.models.conditioning import Condition


# NumPy 2's warning about how diffusers' Heun converts tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.usefixtures("inputs")
def test_labels_are_recorded_and_those_that_do_not_fit_are_refused(refused):
    from diffusers import HeunDiscreteScheduler

    tiny_models.unet(in_channels=1, out_channels=1, num_class_embeds=4).save_pretrained("classes")
    line = (
        "record --model classes --scheduler HeunDiscrete --num_steps 2 --layers mid_block --output run.zarr"
    )
    refused(f"{line} --labels 4", "labels", "4", "0 to 3")
    refused(f"{line} --labels 1 2", "[2]", "3 samples")
    refused(f"{line} --labels 1 --guidance_scale 2", "--guidance_scale is 2")
    refused(line, "class_labels")
    assert not Path("run.zarr").exists()
    call(f"{line} --labels 3 0 1")
    rec = ds.open("run.zarr")
    assert rec.dataset["class_label"].to_numpy().tolist() == [3, 0, 1]
    state = rec.states["mid_block"]
    assert dict(state.sizes) == {"sample": 3, "step": 2, "call": 2, "channel": 16, "height": 4, "width": 4}
    assert state.isel(step=1, call=1).isnull().all()
    network, scheduler, hooked = ds.load("classes", scheduler="ddim").network, HeunDiscreteScheduler(), []
    network.mid_block.register_forward_hook(lambda _m, _a, output: hooked.append(output[:3]))
    scheduler.set_timesteps(2)
    x = torch.cat([load(path) for path in sorted(Path("inputs").glob("*.pt"))])
    # The command calls the network with eight rows.
    x, classes = torch.cat([x, x[-1:].expand(5, -1, -1, -1)]) * scheduler.init_noise_sigma, [3, 0] + [1] * 6
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, timestep)
            output = network(scaled, timestep, torch.tensor(classes)).sample
            x = scheduler.step(output, timestep, x).prev_sample
    for (step, number), by_hand in zip([(0, 0), (0, 1), (1, 0)], hooked, strict=True):
        assert torch.equal(torch.from_numpy(state.isel(step=step, call=number).to_numpy()), by_hand)
    assert torch.equal(torch.from_numpy(rec.final.to_numpy()), x[:3])


ONE_NOISE = "--num_steps 1 --device cpu"
PLANE = f"--num_prompts_per_direction 2 2 --len_per_direction 8 8 {ONE_NOISE}"
MEASURES = {
    "basins map": PLANE,
    "basins zoom": f"{PLANE} --num_prompts_per_direction 25 25 --dtype float64 --levels 1",
    "dynamics uncertainty": f"{PLANE} --points 4 --epsilons 0.1 0.5 1",
    "dynamics growth": PLANE,
    "dynamics spectrum": f"{ONE_NOISE} --samples 1 --k 1",
    "dynamics full_spectrum": ONE_NOISE,
    "dynamics local_expansion": f"{ONE_NOISE} --k 1",
    "dynamics lyapunov": f"{ONE_NOISE} --level 1 --iterations 40 --discard 0 --k 1",
    "dynamics orbit": f"{ONE_NOISE} --level 1 --iterations 4 --discard 0",
    "dynamics orbit_diagram": f"{ONE_NOISE} --iterations 2 --discard 0 --levels 1",
}


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=[pytest.mark.slow] * (verb == "dynamics lyapunov")) for verb in MEASURES],
)
def test_each_measure_of_a_network_with_classes_takes_one(verb, refused, monkeypatch):
    tiny_models.unet(in_channels=1, out_channels=1, num_class_embeds=4).save_pretrained("classes")
    conditions = []
    check = Condition.check
    monkeypatch.setattr(
        Condition, "check", lambda self, *rest: conditions.append(self.inputs) or check(self, *rest)
    )
    line = f"{verb} --model classes --scheduler ddim {MEASURES[verb]}"
    refused(line, "class_labels", "--labels")
    refused(f"{line} --labels 1 2", "--labels is 1 2", "one class")
    refused(f"{line} --labels 4", "labels", "0 to 3")
    conditions.clear()
    if verb != "basins zoom":  # an untrained network has one class, and no boundary to zoom into
        call(f"{line} --labels 3")
        assert conditions and all(inputs["class_labels"].tolist() == [3] for inputs in conditions)


@pytest.mark.usefixtures("inputs")
def test_exponents_under_a_class_are_those_of_the_library():
    denoiser = ds.load("digits-conditional", device="cpu")
    call(
        f"dynamics spectrum --model digits-conditional --labels 3 --guidance_scale 2 {ONE_NOISE} --samples 1 --k 1"
    )
    condition = denoiser.condition_of_labels([3], scale=2)
    x = ds.noise.read("inputs").batch([0])
    expected = ds.dynamics.spectrum(denoiser, x, 1, steps=1, condition=condition)
    written = json.loads(Path("spectrum.json").read_text())
    assert [result["exponents"] for result in written.values()] == [expected.exponents.tolist()]
