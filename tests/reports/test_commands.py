"""The commands on a page, run and parsed as a shell reads them."""

import shlex

import numpy as np
import pytest
import torch
from command_line import call

import denoscope as ds
from denoscope.cli import flags, registry
from denoscope.config import InferenceConfig, Settings
from denoscope.figures.reports.commands import commands
from denoscope.models.scheduler_names import ALIASES, SPACINGS, alias_of
from denoscope.models.schedulers import scheduler_from


def words(line):
    return shlex.split(line.replace("\\\n", ""))


@pytest.fixture(scope="module")
def small(saved, make_small_unet):
    """A folder with a network that is named strangely."""
    return ds.load(saved(make_small_unet(channels=1, mid_block_type=None), "a model; rm -rf $HOME"))


NOISES = {
    "random": lambda shape: ds.noise.random(3, shape, seed=5),
    "perturbed": lambda shape: ds.noise.perturbed(2, shape, epsilon=0.25, base_seed=3, directions="simplex"),
    "plane": lambda shape: ds.noise.plane(
        (2, 3), shape, lengths=(4.0, 2.0), center=(-1.5, 0.0), geometry="spherical", endpoint=False
    ),
}


@pytest.mark.parametrize("kind", NOISES)
def test_the_commands_make_the_same_recording_again(kind, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rec = ds.record(
        small,
        NOISES[kind](small.shape),
        "run.zarr",
        steps=2,
        layers="conv_in",
        every=2,
        flatten=True,
        noise_seed=9,
    )
    again = commands(rec)
    assert not again.caveats and len(again.lines) == 2
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    for line in again.lines:
        call("", *words(line)[1:])
    repeated = ds.open("run.zarr")
    assert repeated.samples == rec.samples and repeated.attrs["fingerprint"] == rec.attrs["fingerprint"]
    assert repeated.attrs["inputs_sha256"] == rec.attrs["inputs_sha256"]
    for name in ("sequence", "conv_in"):
        np.testing.assert_array_equal(rec[name].to_numpy(), repeated[name].to_numpy())
    # What the command recorded says where its noises came from, so that it can be repeated too.
    assert [words(line) for line in commands(repeated).lines] == [words(line) for line in again.lines]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timesteps": [900, 100]},
        {"steps": 2, "extract_states": False, "layers": None, "fast": False},
        {
            "steps": 2,
            "layers": ["conv_in", "conv_*"],
            "channels": "0:2",
            "reduce": "project:3",
            "state_dtype": "float16",
        },
        {
            "steps": 3,
            "every": [0, 2],
            "lanes": 4,
            "batch_size": 4,
            "noise": "independent",
            "extract_estimates": True,
        },
        {"steps": 1, "sampler_dtype": "float64", "codec": "zstd", "on_nonfinite": "stop", "tf32": True},
    ],
)
def test_every_option_is_a_flag_that_the_command_reads_back(options, small, tmp_path):
    denoiser = ds.load(small.name, scheduler="ddpm", device="cpu")
    chosen = {"layers": ["conv_in"]} | options
    rec = ds.record(denoiser, ds.noise.random(1, small.shape), tmp_path / "run.zarr", **chosen)
    verb, line = registry.verb("record"), words(commands(rec).lines[-1])
    assert line[:2] == ["denoscope", "record"]
    read = flags.merged(verb, Settings(), flags.parse(verb, line[2:], Settings(), "record"))
    assert {name: getattr(read.inference, name) for name in rec.attrs["config"] if name != "noise_seed"} == {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in rec.attrs["config"].items()
        if name != "noise_seed"
    }
    assert read.model.model == rec.attrs["model"] and read.model.dtype == "float32"
    assert read.system.threads == torch.get_num_threads() and read.system.device == "cpu"
    assert vars(read.inference).keys() == vars(InferenceConfig()).keys()


@pytest.mark.parametrize("spacing", ["", *SPACINGS])
def test_an_alias_makes_the_scheduler_that_it_stands_for(spacing):
    base = {"num_train_timesteps": 1000, "beta_schedule": "linear", "prediction_type": "epsilon"}
    for alias in ALIASES:
        try:
            scheduler = scheduler_from(f"{alias} {spacing}", base)
        except ds.UserError:  # a class without this spacing
            continue
        again = scheduler_from(alias_of(type(scheduler).__name__, scheduler.config), base)
        assert type(again) is type(scheduler) and dict(again.config) == dict(scheduler.config), alias


def test_what_no_command_can_say_is_said(small, tiny, tmp_path):
    def caveats(*arguments, **options):
        return commands(ds.record(*arguments, steps=1, layers="conv_in", **options)).caveats

    x = ds.noise.random(4, small.shape)
    assert "built in Python" in caveats(tiny, ds.noise.random(1, tiny.shape))[0]
    assert not commands(ds.record(tiny, ds.noise.random(1, tiny.shape), steps=1, layers="conv_in")).lines
    assert "2 of the 4 noises" in caveats(small, x[:2])[0]
    assert "'array'" in caveats(small, torch.zeros(1, *small.shape))[0]
    assert "interventions" in caveats(small, x, interventions=ds.Intervention("conv_in", "scale", 0.5))[0]
    torch.save(torch.zeros(1, *small.shape), tmp_path / "mine.pt")
    assert "does not say" in caveats(small, ds.noise.read(tmp_path))[0]
