"""Provenance: the content of the fingerprint determines every bit."""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import warnings

import pytest
import torch
import zarr
from diffusers import EulerDiscreteScheduler

import denoscope as ds
from denoscope.config import InferenceConfig
from denoscope.foundation.threads import threads_set_to
from denoscope.recording import provenance
from denoscope.recording.job import Job
from denoscope.sampling.settings import Loop

LAYERS = ["conv_in"]


@pytest.fixture
def x(tiny):
    return ds.noise.random(6, tiny.shape, seed=5)


NOT_STORED = {"batch_size", "output_format", "resume", "overwrite", "on_nonfinite"}
"""Options that change no byte of a sample."""
RESOLVED = {
    "layers", "labels", "condition", "guidance_scale", "branches", "intervene", "extract_estimates", "timesteps", "sigmas",
}  # fmt: skip
"""Options that a fingerprint holds in another form or only in use; inputs of a sample are not part of it."""


def fingerprint_of(denoiser, layers=LAYERS, seed=42, **options):
    chosen = InferenceConfig(**options)
    return provenance.fingerprint(
        denoiser,
        Loop.of(chosen, seed),
        layers=layers,
        stored=provenance.stored_of(chosen),
        fast=chosen.fast,
    )


def differing(one, other) -> set[str]:
    return {key for key in one if one[key] != other[key]}


def test_the_weights_hash_is_sha_256_over_names_and_bytes(tiny):
    digest = hashlib.sha256()
    for name, tensor in sorted(tiny.network.state_dict().items()):
        digest.update(f"{name} torch.float32 {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    assert fingerprint_of(tiny)["weights_sha256"] == digest.hexdigest()


def test_every_option_is_in_the_fingerprint_or_listed_here(tiny):
    options = {item.name for item in dataclasses.fields(InferenceConfig)}
    elsewhere = NOT_STORED | RESOLVED
    assert options - elsewhere <= set(fingerprint_of(tiny))
    assert elsewhere <= options


OPTIONS = {
    "num_steps": 3, "lanes": 4, "extract_states": False, "flatten": True, "noise": "independent",
    "codec": "zstd", "state_dtype": "float16", "every": (2,), "channels": "0", "height": "0:2",
    "width": "::2", "reduce": "norm", "sampler_dtype": "float64", "fast": True, "tf32": True,
}  # fmt: skip


def test_the_table_of_options_is_complete():
    assert set(OPTIONS) | NOT_STORED | RESOLVED == {item.name for item in dataclasses.fields(InferenceConfig)}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_decides_bits_changes_the_fingerprint_and_nothing_but_itself(tiny, name):
    one, other = fingerprint_of(tiny), fingerprint_of(tiny, **{name: OPTIONS[name]})
    probed = {"probe_sha256"} if name == "lanes" else set()  # the number of rows of the probe
    assert differing(one, other) == {name} | probed


def test_a_schedule_of_the_callers_is_part_of_it_and_no_other_schedule_is_named(tiny_ddpm):
    own = fingerprint_of(tiny_ddpm, timesteps=(900, 500, 100))
    assert own["timesteps"] == [900, 500, 100] and own["num_steps"] == 3 and "sigmas" not in own
    assert own.keys() - fingerprint_of(tiny_ddpm).keys() == {"timesteps"}


def test_the_fingerprint_of_a_measure_is_that_of_a_recording_of_final_images(tiny):
    final = fingerprint_of(tiny, [], seed=7, extract_states=False, num_steps=3, lanes=4)
    assert provenance.fingerprint(tiny, Loop(steps=3, lanes=4, noise_seed=7)) == final


def test_model_scheduler_layers_and_seed_change_the_fingerprint(tiny, tiny_ddpm, make_unet, make_scheduler):
    one = fingerprint_of(tiny)
    seeded = ds.load(make_unet(seed=1), scheduler=make_scheduler("ddim"), device="cpu")
    double = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    for other, changed in (
        (fingerprint_of(seeded), {"weights_sha256", "probe_sha256"}),
        (fingerprint_of(double), {"weights_sha256", "probe_sha256", "dtype"}),
        (fingerprint_of(tiny_ddpm), {"scheduler", "scheduler_config"}),
        (fingerprint_of(tiny, ["conv_out"]), {"layers"}),
        (fingerprint_of(tiny, seed=1), {"noise_seed"}),
    ):
        assert differing(one, other) == changed


class Own(torch.nn.Module):
    """A network with a parameter that is not a weight."""

    def __init__(self, factor):
        super().__init__()
        self.weight, self.factor = torch.nn.Parameter(torch.tensor(0.1)), factor

    def forward(self, x, timestep):  # noqa: ARG002
        return self.factor * self.weight * x


def test_the_probe_distinguishes_networks_that_differ_only_in_code(make_scheduler):
    one, same, other = (
        ds.load(Own(factor), scheduler=make_scheduler("ddim"), shape=(1, 4, 4), device="cpu")
        for factor in (1.0, 1.0, 2.0)
    )
    assert fingerprint_of(one, []) == fingerprint_of(same, [])
    assert differing(fingerprint_of(one, []), fingerprint_of(other, [])) == {"probe_sha256"}


def test_the_probe_depends_on_kernels_and_settings_that_have_no_name(tiny):
    """Without oneDNN, PyTorch convolves with other kernels: other bits under the same names."""
    x = torch.randn(8, *tiny.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        by_onednn = tiny.network(x, 0).sample
        # PyTorch warns about Intel GPUs when it sets the other flags.
        with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
            differ = not torch.equal(tiny.network(x, 0).sample, by_onednn)
            without = fingerprint_of(tiny)
    assert differing(fingerprint_of(tiny), without) == ({"probe_sha256"} if differ else set())


def test_the_probe_does_not_depend_on_the_labels_of_samples(make_unet, make_scheduler):
    denoiser = ds.load(make_unet(num_class_embeds=3), scheduler=make_scheduler("ddim"), device="cpu")
    one, other = (
        provenance.fingerprint(denoiser, Loop(), denoiser.condition_of_labels(labels))
        for labels in ([0, 1, 2], [2])
    )
    assert one == other


def test_threads_are_part_of_the_fingerprint(tiny):
    with threads_set_to(torch.get_num_threads() + 1) as threads:
        assert fingerprint_of(tiny)["threads"] == threads


WITHOUT_EFFECT = [
    {"batch_size": 1},
    {"batch_size": 100},
    {"output_format": "zarr"},
    {"resume": True},
    {"overwrite": True},
    {"on_nonfinite": "stop"},
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of six samples, made once for the same denoiser and options."""

    @functools.cache
    def once(denoiser, **options):
        out = tmp_path_factory.mktemp("recorded") / "run.zarr"
        x = ds.noise.random(6, denoiser.shape, seed=5)
        ds.record(denoiser, x, out, steps=2, lanes=4, layers=LAYERS, **options)
        return out

    return once


@pytest.mark.parametrize("options", WITHOUT_EFFECT)
def test_options_without_effect_change_no_byte(tiny, recorded, contents, options):
    one, other = (contents(recorded(tiny, **chosen)) for chosen in ({}, options))
    for stored in (one, other):
        # The attributes hold the options.
        stored["zarr.json"]["attributes"].pop("config")
        stored.pop("complete/marks/layout.json")
    assert one == other


@pytest.mark.parametrize(
    "order",
    [
        (3, 1, 4, 0, 5, 2),
        (5, 0),
        *(pytest.param(order, marks=pytest.mark.slow) for order in (range(6), range(6)[::-1], (2,))),
    ],
)
@pytest.mark.parametrize("kind", ["common", "independent"])
def test_a_sample_has_the_same_bytes_in_any_order_number_and_subset(
    tiny_ddpm, recorded, x, tmp_path, order, kind
):
    """Compares the stored values of each sample byte by byte."""
    options = {"steps": 2, "lanes": 4, "layers": LAYERS, "noise": kind}
    ds.record(tiny_ddpm, x.subset(order), tmp_path / "some.zarr", **options)
    paths = recorded(tiny_ddpm, noise=kind), tmp_path / "some.zarr"
    everything, some = (zarr.open_group(path, mode="r") for path in paths)
    for name in ("sequence", *LAYERS):
        for row, index in enumerate(order):
            assert some[name][row].tobytes() == everything[name][index].tobytes(), (name, index)


def test_two_processes_that_share_the_work_store_the_same_as_one(recorder, small_model, contents, tmp_path):
    """Each process records its part of the inputs; the files of samples are compared byte by byte."""
    x = ds.noise.random(6, (1, 8, 8), seed=3)
    for name, part in (("all", range(6)), ("one", range(2)), ("two", range(2, 6))):
        x.subset(part).write(tmp_path / name)
    line = f"record --model {small_model} --device cpu --num_steps 2 --layers conv_in --seed 7".split()
    runs = [
        recorder.start(*line, "--inputs", tmp_path / name, "--output", tmp_path / f"{name}_out")
        for name in ("all", "one", "two")
    ]
    assert [run.wait() for run in runs] == [0, 0, 0]
    parts = {**contents(tmp_path / "one_out"), **contents(tmp_path / "two_out")}
    whole = contents(tmp_path / "all_out")
    tensors = [name for name in whole if name.endswith(".pt")]
    assert len(tensors) == 12 and all(whole[name] == parts[name] for name in tensors)
    there = ds.open(tmp_path / "all_out").attrs["fingerprint"]
    with threads_set_to(there["threads"]):
        here = fingerprint_of(ds.load(small_model, device="cpu"), seed=7, num_steps=2)
    assert here == there, "this process computes the same fingerprint"


def test_the_attributes_are_plain_json_with_date_versions_options_and_inputs(tiny, x):
    options = InferenceConfig(num_steps=2, resume=True, batch_size=3)
    attrs = Job.prepared(tiny, x, None, options, 7).plan.attrs
    assert json.loads(json.dumps(attrs)) == attrs
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(attrs["created"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert attrs["versions"]["diffusers"] == importlib.metadata.version("diffusers")
    assert attrs["config"]["batch_size"] == 3 and attrs["config"]["noise_seed"] == 7
    assert not {"resume", "overwrite"} & set(attrs["config"]), "they concern an existing recording"
    assert attrs["inputs"] == {"kind": "random", "num_samples": 6, "seed": 5}


def test_the_hash_of_the_inputs_is_sha_256_over_names_and_values(x):
    digest = hashlib.sha256()
    for index, name in enumerate(x.names):
        digest.update(name.encode() + b"\0" + x.tensor(index).numpy().tobytes())
    assert provenance.inputs_sha256(x) == digest.hexdigest()
    assert provenance.inputs_sha256(x.subset([1, 0])) != provenance.inputs_sha256(x.subset([0, 1]))


def test_the_fingerprint_does_not_depend_on_the_order_of_a_schedulers_defaults(make_unet):
    scheduler = EulerDiscreteScheduler()
    defaults = scheduler.config["_use_default_values"]
    assert len(defaults) > 3
    found = []
    for order in (sorted(defaults), sorted(defaults, reverse=True)):
        scheduler.register_to_config(_use_default_values=order)
        assert scheduler.config["_use_default_values"] == order
        denoiser = ds.load(make_unet(), scheduler=scheduler, device="cpu")
        found.append(provenance.fingerprint(denoiser, Loop(noise_seed=0)))
    assert found[0] == found[1] and sorted(found[0]["scheduler_config"]["_use_default_values"]) == sorted(
        defaults
    )


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_every_process():
    """diffusers lists the defaults of a scheduler in the order of a set, which differs between Python processes."""
    program = (
        "import json, denoscope as ds; from denoscope.recording import provenance; from denoscope.sampling.settings import Loop;"
        "from diffusers import EulerDiscreteScheduler;"
        "d = ds.load('mnist', scheduler=EulerDiscreteScheduler(), device='cpu');"
        "print(json.dumps(provenance.fingerprint(d, Loop(noise_seed=0))))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    first, second = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", program],
                env=environment | {"PYTHONHASHSEED": str(seed)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for seed in (1, 2)
    )
    assert first == second and len(first["scheduler_config"]["_use_default_values"]) > 3
