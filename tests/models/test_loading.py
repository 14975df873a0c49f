"""Denoisers loaded from a diffusers user's objects and folders, against loading by plain diffusers."""

import json
import os
import pickle
import shutil

import pytest
import torch

import denoscope as ds
from denoscope.cli.command import main
from denoscope.config import ModelConfig
from denoscope.models import bundled
from denoscope.models.loading import resolve_device, shape_of


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory, make_unet, make_scheduler):
    """Folders as plain diffusers saves them: a model beside a scheduler, and a pipeline."""
    from diffusers import DDPMPipeline

    folder = tmp_path_factory.mktemp("saved")
    network, scheduler = make_unet(seed=3), make_scheduler("ddpm")
    network.save_pretrained(folder / "flat")
    scheduler.save_pretrained(folder / "flat")
    DDPMPipeline(network, scheduler).save_pretrained(folder / "pipeline")
    return folder


@pytest.fixture
def saved(saved_once, tmp_path):
    """The same folders, as the test's own."""
    return shutil.copytree(saved_once, tmp_path, dirs_exist_ok=True)


def same_weights(one, two) -> bool:
    one, two = one.state_dict(), two.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("layout", ["flat", "pipeline"])
def test_a_folder_saved_by_diffusers_gives_its_weights_and_scheduler(saved, make_unet, layout):
    denoiser = ds.load(str(saved / layout), device="cpu")
    assert same_weights(denoiser.network, make_unet(seed=3))
    assert type(denoiser.scheduler).__name__ == "DDPMScheduler"
    assert denoiser.scheduler.config.clip_sample is False
    assert denoiser.shape == (2, 8, 8) and not denoiser.network.training
    assert shape_of(str(saved / layout)) == (2, 8, 8)
    assert [layer.address for layer in denoiser.chosen_layers(None)] == ["conv_in", "conv_out"]


@pytest.mark.parametrize("clip_sample", [True, False, None])
def test_clipping_of_x_0_is_switched_as_diffusers_own_option_does(mnist, clip_sample):
    from diffusers import DDIMScheduler

    options = {} if clip_sample is None else {"clip_sample": clip_sample}
    found = ds.load("mnist", clip_sample=clip_sample, device="cpu").scheduler
    assert dict(found.config) == dict(DDIMScheduler.from_config(mnist.scheduler.config, **options).config)
    assert found.config.clip_sample is (clip_sample is not False)


def test_a_scheduler_that_cannot_clip_gets_no_clipping_option():
    # Its configuration, copied from a scheduler that clips, still has the entry.
    assert not ds.load("mnist", scheduler="eulerdiscrete", clip_sample=False, device="cpu").is_stochastic
    with pytest.raises(ds.UserError, match=r"clip_sample is True.*EulerDiscreteScheduler.*leave it out"):
        ds.load("mnist", scheduler="eulerdiscrete", clip_sample=True, device="cpu")


def test_a_pipeline_gives_its_own_network_and_scheduler(saved):
    from diffusers import DDPMPipeline

    pipe = DDPMPipeline.from_pretrained(saved / "pipeline")
    denoiser = ds.load(pipe, device="cpu")
    assert denoiser.network is pipe.unet and denoiser.scheduler is pipe.scheduler


def test_the_bundled_model_loads_with_plain_diffusers(mnist):
    from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel

    folder = bundled.folder("mnist")
    plain = UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False)
    assert same_weights(plain, mnist.network)
    scheduler = DDIMScheduler.from_pretrained(folder)
    assert dict(scheduler.config) == dict(mnist.scheduler.config)
    pipe = DDPMPipeline(plain, scheduler)
    assert pipe.unet.config.sample_size == 28
    assert mnist.shape == (1, 28, 28) == shape_of("mnist")
    assert mnist.first_last_layers == ("conv_in", "conv_out")
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= 8 * 10**6


def test_the_bundled_model_is_named_as_it_is(mnist):
    assert "mnist" in bundled.names() and "lenet" not in bundled.names() and mnist.name == "mnist"
    assert bundled.folder("lenet") is None and bundled.folder("../zoo/mnist") is None


class Halves(torch.nn.Module):
    """Returns half of x, as a tensor or as an object with `.sample`."""

    def __init__(self, kind=None):
        super().__init__()
        self.kind = kind

    def forward(self, x, timestep):  # noqa: ARG002
        return x / 2 if self.kind is None else self.kind(x / 2)


class Output:
    def __init__(self, sample):
        self.sample = sample


@pytest.mark.parametrize("kind", [None, Output])
def test_a_bare_module_is_called_as_module_of_x_and_timestep(make_scheduler, kind):
    scheduler = make_scheduler("ddim")
    denoiser = ds.load(Halves(kind), scheduler=scheduler, shape=(1, 2, 3), device="cpu")
    x = torch.ones(2, 1, 2, 3)
    assert torch.equal(denoiser.predict(x, torch.tensor(5)), x / 2)
    assert denoiser.shape == (1, 2, 3) and denoiser.dtype == torch.float32
    assert ds.sample(denoiser, x, steps=2).shape == x.shape


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ddim", "DDIMScheduler"),
        ("DDPM", "DDPMScheduler"),
        ("DDIMScheduler", "DDIMScheduler"),
        ("eulerdiscrete", "EulerDiscreteScheduler"),
        ("DPMSolverMultistep", "DPMSolverMultistepScheduler"),
    ],
)
def test_a_scheduler_by_name_keeps_the_configuration_of_the_models_own(saved, name, kind):
    folder = saved / "flat"
    config = json.loads((folder / "scheduler_config.json").read_text()) | {"beta_end": 0.013}
    (folder / "scheduler_config.json").write_text(json.dumps(config))
    scheduler = ds.load(folder, scheduler=name, device="cpu").scheduler
    assert type(scheduler).__name__ == kind and scheduler.config.beta_end == 0.013


def test_a_scheduler_object_is_taken_as_it_is(saved, make_scheduler):
    scheduler = make_scheduler("ddim")
    assert ds.load(saved / "flat", scheduler=scheduler, device="cpu").scheduler is scheduler


@pytest.mark.parametrize("dtype", ["float64", torch.float64, "bfloat16"])
def test_the_dtype_is_that_of_weights_and_states(make_unet, make_scheduler, dtype):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype=dtype, device="cpu")
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert denoiser.dtype == expected
    x_0 = ds.sample(denoiser, ds.noise.random(1, denoiser.shape).batch([0]), steps=1)
    assert x_0.dtype == expected


def test_the_dtype_holds_for_a_module_without_parameters_too(make_scheduler):
    options = {"scheduler": make_scheduler("ddim"), "shape": (1, 2, 3), "device": "cpu"}
    denoiser = ds.load(Halves(), dtype="float64", **options)
    assert denoiser.dtype == torch.float64
    assert ds.sample(denoiser, torch.ones(1, 1, 2, 3), steps=1).dtype == torch.float64


def test_given_first_and_last_layers_decide_and_wrong_names_are_refused(saved):
    name = str(saved / "flat")
    pairs = {name: ("conv_out", "mid_block.resnets.0.conv1")}
    denoiser = ds.load(name, device="cpu", config=ModelConfig(first_last_layers=pairs))
    assert [layer.address for layer in denoiser.chosen_layers(None)] == list(pairs[name])
    wrong = ModelConfig(first_last_layers={name: ("conv_in", "conv_ut")})
    with pytest.raises(ds.UserError, match="conv_out"):
        ds.load(name, device="cpu", config=wrong).chosen_layers(None)


def refused(match: str, source, **options):
    with pytest.raises(ds.UserError, match=match) as caught:
        ds.load(source, **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "/no/such/folder", "../nothing", "", "owner/name/part/none"])
def test_an_unknown_model_is_refused_with_what_a_source_may_be(name):
    refused(
        r"source is .*; allowed: digits, digits-conditional, mnist \(bundled\), an existing folder.*, or a hub id OWNER/NAME",
        name,
    )


@pytest.mark.parametrize("name", ["mnst", "mnits", "MNIST", "minst"])
def test_a_misspelt_model_is_refused_with_the_nearest(name):
    refused(f"source is '{name}'; did you mean mnist", name)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scheduler": "dimm"}, "scheduler is 'dimm'.*ddim"),
        ({"scheduler": "UNet2DModel"}, "scheduler is 'UNet2DModel'"),
        ({"scheduler": 3}, "scheduler is 3"),
        ({"scheduler": None}, "UNet2DModel.*scheduler="),
        ({"device": "tpu"}, r"device is 'tpu'"),
        ({"dtype": "float31"}, "dtype is 'float31'"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"dtype": torch.int32}, r"dtype is torch\.int32"),
        ({"shape": (3, 8, 8)}, "takes 2 channels"),
        ({"shape": (8, 8)}, "shape is"),
    ],
)
def test_a_wrong_option_is_refused(make_unet, options, match):
    refused(match, make_unet(), **{"scheduler": "ddim", **options})


def test_a_module_that_does_not_tell_its_shape_needs_one():
    refused("shape of its states", Halves(), scheduler="ddim")
    refused("shape is", Halves(), scheduler="ddim", shape=(8, 8))


@pytest.mark.parametrize("name", ["VQDiffusion", "Piflow", "RePaint", "ScoreSdeVe"])
def test_a_scheduler_that_cannot_run_this_loop_is_refused_by_name(saved, name):
    with pytest.raises(ds.UserError, match=name):
        ds.sample(ds.load(saved / "flat", scheduler=name, device="cpu"), torch.zeros(1, 2, 8, 8), steps=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_cuda_is_refused_without_a_device():
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ds.UserError, match=r"'cuda'.*0 CUDA devices.*auto, cpu"):
        resolve_device("cuda")


def broken(folder, kind):
    weights, config = folder / "diffusion_pytorch_model.safetensors", folder / "config.json"
    match kind:
        case "no config":
            config.unlink()
        case "no weights":
            weights.unlink()
        case "truncated weights":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "weights of another size":
            config.write_text(config.read_text().replace('"out_channels": 2', '"out_channels": 3'))
        case "missing weights":
            from safetensors.torch import load_file, save_file

            content = load_file(weights)
            del content["conv_in.weight"]
            save_file(content, weights, metadata={"format": "pt"})
        case "unreadable config":
            config.write_text("{")
        case "config of no object":
            config.write_text("[]")
        case "unknown class":
            config.write_text(config.read_text().replace("UNet2DModel", "MyModel"))
        case "no model class":
            config.write_text(config.read_text().replace("UNet2DModel", "utils"))
        case "unknown scheduler class":
            path = folder / "scheduler_config.json"
            path.write_text(path.read_text().replace("DDPMScheduler", "MyScheduler"))
        case "unreadable scheduler":
            (folder / "scheduler_config.json").write_text("{")


@pytest.mark.parametrize(
    "kind",
    [
        "no config",
        "no weights",
        "truncated weights",
        "weights of another size",
        "missing weights",
        "unreadable config",
        "config of no object",
        "unknown class",
        "no model class",
        "unknown scheduler class",
        "unreadable scheduler",
    ],
)
def test_a_damaged_folder_is_refused(saved, kind):
    broken(saved / "flat", kind)
    refused("flat|MyScheduler", str(saved / "flat"))


def test_the_tensor_that_does_not_fit_is_named(saved):
    broken(saved / "flat", "weights of another size")
    refused(r"weights cannot be loaded: .*size mismatch for conv_out\.", str(saved / "flat"))


RUNS = "from pathlib import Path; Path('ran').mkdir(); from diffusers import *; Own = object"


def asking_for_code(pipeline, kind):
    """Make the saved pipeline request code from its own folder; the code makes a folder when it runs."""
    index, config = pipeline / "model_index.json", pipeline / "unet" / "config.json"
    content = json.loads(index.read_text())
    match kind:
        case "auto_map of the network":
            changed = json.loads(config.read_text()) | {"auto_map": {"AutoModel": "own.Own"}}
            config.write_text(json.dumps(changed))
            (pipeline / "unet" / "own.py").write_text(RUNS)
        case "network":
            content["unet"] = ["own", "Own"]
            config.write_text(config.read_text().replace("UNet2DModel", "Own"))
            (pipeline / "unet" / "own.py").write_text(RUNS)
        case "scheduler":
            content["scheduler"] = ["own", "Own"]
            (pipeline / "scheduler" / "own.py").write_text(RUNS)
        case "pipeline":
            content["_class_name"] = ["own", "Own"]
            (pipeline / "own.py").write_text(RUNS)
    index.write_text(json.dumps(content))
    return str(pipeline)


@pytest.mark.parametrize("kind", ["auto_map of the network", "network", "scheduler"])
def test_a_model_that_needs_its_own_code_is_refused_and_none_is_run(saved, kind, monkeypatch, capsys):
    monkeypatch.chdir(saved)
    ds.noise.random(1, (2, 8, 8)).write("inputs")
    name = asking_for_code(saved / "pipeline", kind)
    verbs = ["record --num_steps 1 --model", *([] if kind == "scheduler" else ["layers"])]
    for verb in verbs:
        with pytest.raises(SystemExit) as stop:
            main([*verb.split(), name])
        message = capsys.readouterr().err
        assert stop.value.code == 2 and message.count("\n") == 1
        assert (
            f"{name} needs code of its own (own.Own), which denoscope never runs; if you trust it" in message
        )
    assert sorted(path.name for path in saved.iterdir()) == ["flat", "inputs", "pipeline"]


def test_the_code_in_a_pipeline_repository_is_not_run(saved, monkeypatch):
    monkeypatch.chdir(saved)
    ds.load(asking_for_code(saved / "pipeline", "pipeline"), device="cpu")
    assert not (saved / "ran").exists()


def test_weights_of_before_safetensors_are_read_without_a_word(saved, make_unet, capfd):
    make_unet(seed=3).save_pretrained(saved / "old", safe_serialization=False)
    assert same_weights(
        ds.load(str(saved / "old"), scheduler="ddim", shape=(2, 8, 8)).network, make_unet(seed=3)
    )
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_code_in_pickled_weights_is_refused_and_not_run(saved, tmp_path):
    import os

    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    folder = tmp_path / "evil"
    shutil.copytree(saved / "flat", folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    for dump in (lambda path: path.write_bytes(pickle.dumps(Evil())), lambda path: torch.save(Evil(), path)):
        dump(folder / "diffusion_pytorch_model.bin")
        refused("evil", str(folder))
        assert not mark.exists()


@pytest.fixture
def sharded(tmp_path, make_unet, make_scheduler):
    """A folder with a model whose weights lie in several .safetensors files, and its first shard."""
    folder = tmp_path / "model"
    make_unet().save_pretrained(folder, max_shard_size="20KB")
    make_scheduler("ddim").save_pretrained(folder)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1 and (folder / "diffusion_pytorch_model.safetensors.index.json").is_file()
    return folder, shards[0]


def test_a_shard_may_be_a_link_to_another_folder_as_in_the_hub_s_cache(sharded, tmp_path, make_unet):
    folder, shard = sharded
    (tmp_path / "blobs").mkdir()
    shard.rename(tmp_path / "blobs" / "0123")
    shard.symlink_to(tmp_path / "blobs" / "0123")
    loaded = ds.load(folder, device="cpu").network.state_dict()
    expected = make_unet().state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "kind", ["pipe", "link to a pipe", "link to nothing", "link to itself", "folder", "missing"]
)
def test_a_shard_that_is_no_file_is_refused_at_once(sharded, tmp_path, kind):
    folder, shard = sharded
    shard.unlink()
    os.mkfifo(tmp_path / "pipe")
    targets = {
        "link to a pipe": tmp_path / "pipe",
        "link to nothing": tmp_path / "x",
        "link to itself": shard,
    }
    if kind == "pipe":
        os.mkfifo(shard)
    elif kind == "folder":
        shard.mkdir()
    elif kind in targets:
        shard.symlink_to(targets[kind])
    with pytest.raises(ds.UserError) as caught:
        ds.load(folder, device="cpu")
    reason = {"pipe": "not a regular file", "folder": "it is a folder"}.get(
        kind.rpartition(" ")[2], "no such file"
    )
    message = str(caught.value)
    assert "\n" not in message and shard.name in message and reason in message, message
