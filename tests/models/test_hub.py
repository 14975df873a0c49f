"""Models by id, from a hub on loopback through huggingface_hub's client, compared with plain diffusers."""

import functools
import json
import shutil

import pytest
import torch
from loopback_hub import Hub

import denoscope as ds
from denoscope.cli.command import main
from denoscope.models.loading import shape_of

WEIGHTS = "diffusion_pytorch_model"


def point_to(address: str, monkeypatch) -> None:
    """Set what HF_ENDPOINT sets at import: this process has already imported the client."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub without repositories, an empty cache, and a client that does not wait between its tries."""
    hub = Hub()
    address, server = hub.start()
    point_to(address, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory, make_unet, make_scheduler):
    """Save a network in one of diffusers' layouts and return the folder, the same one for the same arguments."""
    from diffusers import DDPMPipeline

    @functools.cache
    def save(layout: str, seed: int, **options: object):
        folder = tmp_path_factory.mktemp("saved")
        network, scheduler = make_unet(seed=seed), make_scheduler("ddpm")
        if layout == "pipeline":
            DDPMPipeline(network, scheduler).save_pretrained(folder, **options)
        else:
            network.save_pretrained(folder, **options)
        if layout == "flat":
            scheduler.save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def saved(tmp_path, saved_once):
    """The same in a folder of the test's own."""

    def save(layout: str = "flat", *, seed: int = 0, name: str = "", **options: object):
        folder = tmp_path / "made" / (name or f"{layout}{seed}{len(options)}")
        return shutil.copytree(saved_once(layout, seed, **options), folder, dirs_exist_ok=True)

    return save


def align(network: torch.nn.Module) -> None:
    """Move weights to where PyTorch puts them: those of a file lie anywhere, by which kernels of some processors round."""
    for weights in network.parameters():
        weights.data = weights.data.clone()


def same_bits(one: ds.Denoiser, other: ds.Denoiser) -> bool:
    """Whether two denoisers have the same weights and make the same x_0 of the same noise."""
    states = one.network.state_dict(), other.network.state_dict()
    align(one.network)
    align(other.network)
    x = ds.noise.random(1, (2, 8, 8))
    return states[0].keys() == states[1].keys() and all(
        torch.equal(a, b)
        for a, b in [
            *zip(states[0].values(), states[1].values(), strict=True),
            (ds.sample(one, x, steps=1, lanes=1), ds.sample(other, x, steps=1, lanes=1)),
        ]
    )


def refused(match: str, source: str, **options: object) -> str:
    with pytest.raises(ds.UserError, match=match) as caught:
        ds.load(source, device="cpu", **options)
    assert "\n" not in str(caught.value) and source in str(caught.value)
    return str(caught.value)


def slow(*values: object):
    """A case that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)


OLD = {"safe_serialization": False}
SHARDS = {"max_shard_size": "20KB"}


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("flat", {}),
        slow("flat", OLD),
        slow("pipeline", {}),
        ("pipeline", OLD),
        slow("pipeline", {"variant": "fp16"}),
        slow("alone", {}),
        slow("alone", OLD),
        slow("alone", SHARDS),
        slow("alone", SHARDS | OLD),
        slow("alone", {"variant": "fp16"}),
        ("alone", SHARDS | {"variant": "fp16"}),
    ],
)
def test_a_repository_loads_with_the_bits_of_its_folder(hub, saved, layout, options):
    folder = saved(layout, **options)
    hub.add("some/model", folder)
    arguments = {"device": "cpu", "scheduler": "ddim" if layout == "alone" else None}
    arguments["variant"] = options.get("variant")
    loaded = ds.load("some/model", **arguments)
    assert same_bits(loaded, ds.load(folder, **arguments))
    from diffusers import UNet2DModel

    plain = UNet2DModel.from_pretrained(
        folder / "unet" if layout == "pipeline" else folder,
        variant=options.get("variant"),
        use_safetensors=options.get("safe_serialization", True),
        low_cpu_mem_usage=False,
    )
    assert all(torch.equal(value, loaded.network.state_dict()[k]) for k, value in plain.state_dict().items())
    # The cached model is found by its name, also without a connection.
    hub.repositories.clear()
    assert same_bits(ds.load(loaded.name, device="cpu", scheduler=arguments["scheduler"]), loaded)


@pytest.mark.slow
def test_only_what_is_needed_is_downloaded(hub, saved, tmp_path):
    folder = saved("pipeline")
    saved("alone", seed=1, name="old", **OLD)
    shutil.copy(tmp_path / f"made/old/{WEIGHTS}.bin", folder / "unet")
    saved("alone", seed=2, name="half", variant="fp16")
    shutil.copy(tmp_path / f"made/half/{WEIGHTS}.fp16.safetensors", folder / "unet")
    (folder / "text_encoder").mkdir()
    (folder / "text_encoder" / "model.safetensors").write_bytes(bytes(1000))
    hub.add("some/model", folder)
    assert shape_of("some/model") == (2, 8, 8)
    assert main(["layers", "some/model"]) is None
    assert not any(f"{WEIGHTS}" in request for request in hub.requests)
    assert same_bits(ds.load("some/model", device="cpu"), ds.load(folder, device="cpu"))
    fetched = {request.split("/")[-1] for request in hub.requests if request.startswith("GET some/model/")}
    assert fetched == {
        "model_index.json",
        "config.json",
        "scheduler_config.json",
        f"{WEIGHTS}.safetensors",
    }


def test_a_revision_is_loaded_instead_of_main(hub, saved):
    hub.add("some/model", saved("flat"))
    hub.add("some/model", saved("flat", seed=1), revision="v1.0")
    loaded = ds.load("some/model@v1.0", device="cpu")
    assert same_bits(loaded, ds.load(saved("flat", seed=1), device="cpu"))
    assert not same_bits(loaded, ds.load(saved("flat"), device="cpu"))


@pytest.mark.slow
def test_each_revision_is_its_own(hub, saved):
    for revision, seed in (("main", 0), ("v1.0", 1), ("refs/pr/3", 2)):
        hub.add("some/model", saved("flat", seed=seed), revision=revision)
        name = "some/model" if revision == "main" else f"some/model@{revision}"
        assert same_bits(ds.load(name, device="cpu"), ds.load(saved("flat", seed=seed), device="cpu"))
    commit = hub.repositories["some/model"].commit("v1.0")
    assert same_bits(
        ds.load(f"some/model@{commit}", device="cpu"), ds.load(saved("flat", seed=1), device="cpu")
    )
    refused("no revision 'v2'; allowed: one of its branches, tags or commits", "some/model@v2")


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ("pipeline", f"{WEIGHTS}.safetensors"),
        slow("pipeline", f"{WEIGHTS}.bin"),
        slow("pipeline", "ema.safetensors"),
        slow("alone", f"{WEIGHTS}.safetensors"),
        slow("alone", "ema.safetensors"),
        ("alone", "model.pt"),
    ],
)
def test_one_file_of_weights_loads_beside_its_config(hub, saved, layout, kind):
    own, other = saved("flat", seed=0), saved(layout, seed=1, name="other")
    place = other / "unet" if layout == "pipeline" else other
    if kind.endswith("safetensors"):
        shutil.copy(own / f"{WEIGHTS}.safetensors", place / kind)
    else:
        torch.save(ds.load(own, device="cpu", scheduler="ddim").network.state_dict(), place / kind)
    hub.add("some/model", other)
    inside = f"unet/{kind}" if layout == "pipeline" else kind
    wanted = ds.load(own, device="cpu")
    options = {"device": "cpu", "scheduler": None if layout == "pipeline" else wanted.scheduler}
    for source in (f"some/model/{inside}", place / kind, str(place / kind), f"some/model@main/{inside}"):
        assert same_bits(ds.load(source, **options), wanted)
    assert shape_of(f"some/model/{inside}") == (2, 8, 8)


@pytest.mark.slow
def test_a_recording_of_a_file_of_weights_is_computed_again(hub, saved, tmp_path):
    hub.add("some/model", saved("flat", variant="fp16"))
    denoiser = ds.load("some/model", variant="fp16", device="cpu")
    assert denoiser.name == f"some/model/{WEIGHTS}.fp16.safetensors"
    ds.record(denoiser, ds.noise.random(1, denoiser.shape), tmp_path / "run.zarr", steps=2)
    from denoscope.recording.verify import stored

    report = stored.store(tmp_path / "run.zarr", recompute=1)
    assert report.sound and report.recomputed == 1


WRONG_FILES = {
    "some/model/other.safetensors": r"no weights other\.safetensors; it holds .*pass one of them as some/model/",
    "some/model@v9/ema.safetensors": "no revision 'v9'",
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_of_weights_that_is_not_there_is_refused_with_those_that_are(hub, saved, name):
    hub.add("some/model", saved("flat"))
    with pytest.raises(ds.UserError, match=WRONG_FILES[name]):
        ds.load(name, device="cpu")


def test_weights_without_a_config_or_of_another_network_are_refused(saved, tmp_path):
    folder = saved("flat")
    lonely = tmp_path / "lonely.safetensors"
    shutil.copy(folder / f"{WEIGHTS}.safetensors", lonely)
    refused("no config.json beside it", str(lonely))
    (folder / "text.safetensors").write_text("no tensors")
    refused("weights cannot be loaded", str(folder / "text.safetensors"))
    (folder / "index.safetensors.index.json").write_text('{"weight_map": 3}')
    refused_path = folder / "index.safetensors.index.json"
    with pytest.raises(ds.UserError, match="weight_map"):
        ds.load(refused_path, device="cpu")


def test_a_variant_that_is_not_there_is_refused_with_the_weights_that_are(hub, saved):
    folder = saved("pipeline", variant="fp16")
    hub.add("some/model", folder)
    there = (
        rf"it holds unet/{WEIGHTS}\.fp16\.safetensors; pass one of them as some/model/unet/{WEIGHTS}\.fp16"
    )
    refused(rf"no weights unet/{WEIGHTS}\.safetensors or \.bin; {there}", "some/model")
    refused(there, "some/model", variant="ema")
    for variant in (None, "ema"):
        refused(rf"{WEIGHTS}\.fp16\.safetensors; pass one of them as", str(folder), variant=variant)
    one = f"some/model/unet/{WEIGHTS}.fp16.safetensors"
    refused("variant is 'fp16', but .* names one file", one, variant="fp16")
    for wrong in (3, "", b"fp16"):
        with pytest.raises(ds.UserError, match=r"^variant is "):
            ds.load("some/model", variant=wrong)
    with pytest.raises(ds.UserError, match=r"^variant is 'fp16'"):
        ds.load(torch.nn.Identity(), scheduler="ddim", variant="fp16")


def test_a_network_alone_needs_a_scheduler(hub, saved):
    hub.add("some/model", saved("alone"))
    refused("scheduler=", "some/model")


def test_a_gated_repository_says_where_its_terms_are(hub, saved):
    hub.add("some/model", saved("flat"), gated=True)
    refused(r"gated: accept its terms at http://127.*/some/model and log in", "some/model")


@pytest.mark.usefixtures("hub")
def test_a_missing_repository_and_an_invalid_id_are_told_apart():
    refused("not on the hub, or is private", "nobody/nothing")
    for name in ("a--b/c", "a/b.", "a/" + "b" * 200):
        refused("not a valid hub id", name)


@pytest.mark.parametrize("status", [403, slow(429), slow(500), 503])
def test_a_hub_that_fails_is_told_with_its_status(hub, saved, status):
    hub.add("some/model", saved("flat"), status=status)
    refused(str(status), "some/model")


@pytest.mark.parametrize("file", [slow("config.json"), f"{WEIGHTS}.safetensors"])
def test_a_download_that_breaks_off_says_so_and_is_continued(hub, saved, monkeypatch, file):
    repository = hub.add("some/model", saved("flat"), breaks_off=file)
    refused("cannot be downloaded: .*load it again, which continues", "some/model")
    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        refused(
            "cached in part only, and HF_HUB_OFFLINE is set; load it once with a connection", "some/model"
        )
    repository.breaks_off = ""
    assert same_bits(ds.load("some/model", device="cpu"), ds.load(saved("flat"), device="cpu"))


@pytest.mark.parametrize("how", ["set", "unreachable"])
def test_offline_a_cached_model_loads_and_another_is_refused(hub, saved, monkeypatch, how):
    hub.add("some/model", saved("flat"))
    hub.add("some/other", saved("flat"))
    ds.load("some/model", device="cpu")
    if how == "set":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        reason = "HF_HUB_OFFLINE is set"
    else:
        point_to("http://127.0.0.1:9", monkeypatch)
        reason = r"the hub http://127\.0\.0\.1:9 does not answer"
    asked = len(hub.requests)
    assert same_bits(ds.load("some/model", device="cpu"), ds.load(saved("flat"), device="cpu"))
    advice = r"load it once with a connection, .* a bundled model \(digits, .*mnist\)"
    refused(rf"not cached in .*cache, and {reason}.*; {advice}", "some/other")
    assert len(hub.requests) == asked


def test_a_repository_of_something_else_is_refused(hub, tmp_path):
    for name, config in {"text": '{"model_type": "bert"}', "broken": "{", "list": "[]"}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(config)
        hub.add(f"some/{name}", folder)
        with pytest.raises(ds.UserError) as caught:
            ds.load(f"some/{name}", device="cpu")
        assert "\n" not in str(caught.value) and "config.json" in str(caught.value)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("#")
    hub.add("some/data", tmp_path / "data")
    refused("no config.json", "some/data")


def test_code_in_a_repository_is_told_and_never_run(hub, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved("pipeline")
    code = "from pathlib import Path; Path('ran').mkdir()"
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "own.py").write_text(code)
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": ["own", "Own"]}))
    hub.add("some/pipeline", folder)
    assert ds.load("some/pipeline", device="cpu").shape == (2, 8, 8)
    (folder / "unet" / "own.py").write_text(code)
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["own", "Own"]}))
    hub.add("some/network", folder)
    refused("needs code of its own .*which denoscope never runs", "some/network")
    assert not (tmp_path / "ran").exists()


def test_the_command_line_takes_an_id_and_refuses_a_wrong_one_in_one_line(
    hub, saved, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    hub.add("some/model", saved("flat"), revision="v1")
    main(["noise", "random", "--num_samples", "1", "--model", "some/model@v1"])
    main(
        ["record", "--num_steps", "1", "--device", "cpu", "--model", "some/model@v1", "--output", "run.zarr"]
    )
    assert ds.open("run.zarr").attrs["model"] == "some/model@v1"
    capsys.readouterr()
    for name in ("some/model", "nobody/nothing", "some/model@", "mnits"):
        with pytest.raises(SystemExit) as stop:
            main(["record", "--num_steps", "1", "--output", "two.zarr", "--model", name])
        (line,) = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2 and line.startswith("error: ") and name in line
