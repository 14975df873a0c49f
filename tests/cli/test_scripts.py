"""The scripts at the root of the project, the config.py beside them, and the scripts that empty folders."""

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import check_refusal, load, names

import denoscope as ds

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch) -> Callable[..., None]:
    """Run a script of the project in this process, as `python NAME.py WORDS` does."""

    def run(name: str, words: str = "", root: Path = ROOT) -> None:
        monkeypatch.setattr(sys, "argv", [name, *words.split()])
        runpy.run_path(str(root / name), run_name="__main__")

    return run


@pytest.fixture
def checkout(tmp_path_factory) -> Callable[..., Path]:
    """Copy the scripts and replace text in the copy of config.py; returns the folder."""

    def edited(old: str = "", new: str = "") -> Path:
        folder = tmp_path_factory.mktemp("checkout")
        for path in [*ROOT.glob("*.py"), *ROOT.glob("*.sh")]:
            shutil.copy(path, folder)
        text = (folder / "config.py").read_text()
        assert old in text
        (folder / "config.py").write_text(text.replace(old, new))
        return folder

    return edited


@pytest.fixture
def refused_script(script, capsys) -> Callable[..., str]:
    """Run main.py of a folder, which must end with exit code 2 and one line with the given fragments."""

    def run(root: Path, words: str, *fragments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            script("main.py", words, root)
        assert caught.value.code == 2
        return check_refusal(capsys.readouterr().err, *fragments)

    return run


def test_a_script_runs_as_a_program(checkout, here):
    root = checkout("InferenceConfig()", "InferenceConfig(batch_size=0)")
    words = [sys.executable, str(root / "main.py")]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    check_refusal(done.stderr, "InferenceConfig.batch_size is 0", "at least 1")


def test_the_scripts_run_in_the_order_of_the_documentation(script):
    script("generate_inputs.py", "--num_samples 2")
    script("main.py", "--batch_size 2 --num_steps 3 --flatten --device cpu")
    script("tensor_to_image.py", "--tensor-path outputs/sequences/sample_0000_sequence.pt --step -1")
    script("classify.py")
    script("compare_tensors.py")
    assert names("inputs") == ["noise_0000.pt", "noise_0001.pt"]
    assert load("outputs/layer1/sample_0000_trajectory.pt").ndim == 2
    assert names("outputs/images/sequences", "*.png") == ["sample_0000_sequence_step_0002.png"]
    assert Path("outputs/predictions.json").is_file()


@pytest.mark.parametrize(
    ("name", "words", "count"),
    [
        ("generate_inputs.py", "--num-samples 10", 10),
        ("generate_perturbed_prompts.py", "--num_perturbations 5 --epsilon 500", 6),
        ("generate_plane_prompts.py", "--num_prompts_per_direction 5 5 --center_coords 2000.0 -1500.0", 25),
    ],
)
def test_the_documented_commands_for_inputs_write_their_files(script, name, words, count):
    script(name, words)
    assert len(names("inputs")) == count


def test_the_scripts_replace_what_they_wrote_before(script, here):
    script("generate_plane_prompts.py", "--num_prompts_per_direction 2 2")
    script("generate_plane_prompts.py", "--num_prompts_per_direction 1 2 --center_coords 2000.0 -1500.0")
    assert len(names("inputs")) == 2
    for seed in (0, 1):
        torch.save(torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(seed)), here / "a.pt")
        script("tensor_to_image.py", "--tensor-path a.pt --step -1")
        script("classify.py", "--tensors .")
    assert names("outputs/images/sequences", "*") == ["a_step_0000.png"]


def test_pipeline_script_writes_a_picture(script):
    script("pipeline.py", "--num_prompts_per_direction 2 1 --num_steps 1 --device cpu --lanes 4")
    assert names("outputs/images", "*.png") == ["classifications_plane.png"]


@pytest.mark.parametrize("name", ["classifier_model", "extraction_system"])
def test_the_modules_of_earlier_versions_run(script, name):
    script(f"{name}.py")


def test_values_in_config_hold_unless_flags_override_them(checkout, script):
    root = checkout("GenerationConfig()", "GenerationConfig(num_samples=3)")
    script("generate_inputs.py", "", root)
    assert len(names("inputs")) == 3
    script("generate_inputs.py", "--num_samples 2", root)
    assert len(names("inputs")) == 2


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ("InferenceConfig()", "InferenceConfig(batch_size=0)", ["InferenceConfig.batch_size is 0"]),
        ("InferenceConfig()", "InferenceConfig(batchsize=2)", ["'batchsize'", "num_steps", "batch_size"]),
        ("InferenceConfig()", "InferenceConfig(", []),
        ("InferenceConfig()", "SystemConfig()", ["SETTINGS.inference", "InferenceConfig"]),
        ("InferenceConfig()", "InferenceConf()", ["InferenceConf"]),
        ("SETTINGS =", "SETTING =", ["SETTINGS"]),
        ("SETTINGS =", "raise SystemExit(0)\nSETTINGS =", ["SystemExit"]),
        ("SETTINGS =", "raise GeneratorExit('mine')\nSETTINGS =", ["GeneratorExit: mine"]),
        ("SETTINGS =", "class Own(BaseException): pass\nraise Own(3)\nSETTINGS =", ["Own: 3"]),
        ("SETTINGS = Settings(", "SETTINGS = dict(", ["SETTINGS"]),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(checkout, refused_script, old, new, fragments):
    refused_script(checkout(old, new), "", "config.py", *fragments)


def test_a_missing_config_is_refused_in_one_line(checkout, refused_script):
    root = checkout()
    (root / "config.py").unlink()
    refused_script(root, "", "config.py")


def test_lists_in_config_become_tuples(checkout, script, here, capsys):
    ds.noise.random(1, (1, 28, 28)).write(here / "digits")
    root = checkout("InferenceConfig()", "InferenceConfig(layers=['conv_in', 'mid_block'], num_steps=1)")
    script("main.py", "--dry_run --device cpu --inputs digits", root)
    assert "mid_block" in capsys.readouterr().out
    lists = "DefaultConfig(center_coords=[1.0, 2.0], num_prompts_per_direction=[2, 1])"
    script("generate_plane_prompts.py", "", checkout("DefaultConfig()", lists))
    assert len(names("inputs")) == 2


@pytest.mark.parametrize("field", ["image_size=32", "channels=3"])
def test_a_size_in_config_that_contradicts_the_model_is_refused(checkout, refused_script, here, field):
    ds.noise.random(1, (1, 28, 28)).write(here / "digits")
    root = checkout("GenerationConfig()", f"GenerationConfig({field})")
    words = "--device cpu --inputs digits"
    refused_script(root, words, f"GenerationConfig.{field.replace('=', ' is ')}", "allowed: ")
    assert not Path("outputs").exists()


def test_the_clean_scripts_empty_their_own_folders_from_anywhere(checkout, here):
    root = checkout()
    files = ("inputs/x.pt", "outputs/sequences/y.pt", "outputs/.hidden", "outputs/own/z.pt", "mine.txt")
    for folder in (root, here):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
    remaining = ("layer1", "last_layer", "sequences", "images", "final_tensors")
    expected = {root / "outputs" / name for name in remaining}
    subprocess.run(["bash", str(root / "clean_output.sh")], cwd=here, check=True)
    assert set((root / "outputs").rglob("*")) == expected and (root / "inputs/x.pt").exists()
    subprocess.run(["bash", str(root / "clean_input_output.sh")], cwd=here, check=True)
    assert set((root / "outputs").rglob("*")) == expected and not list((root / "inputs").iterdir())
    assert (root / "mine.txt").exists() and (root / "main.py").exists()
    assert len([path for path in here.rglob("*") if path.is_file()]) == len(files)


@pytest.mark.parametrize(
    ("script", "folder"),
    [
        ("clean_output.sh", "outputs"),
        ("clean_input_output.sh", "outputs"),
        ("clean_input_output.sh", "inputs"),
    ],
)
def test_a_clean_script_refuses_a_folder_that_is_a_link(checkout, here, script, folder):
    root, elsewhere = checkout(), here / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.pt").write_text("")
    if folder == "inputs":
        (root / "outputs").mkdir()
        (root / "outputs" / "x.pt").write_text("")
    (root / folder).symlink_to(elsewhere)
    words = ["bash", str(root / script)]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and str(root / folder) in line and str(elsewhere) in line
    assert (elsewhere / "mine.pt").exists() and (folder == "outputs" or (root / "outputs" / "x.pt").exists())


def test_a_clean_script_behind_a_link_empties_its_own_folders(checkout, here):
    root = checkout()
    for folder in (root, here):
        (folder / "outputs").mkdir()
        (folder / "outputs" / "x.pt").write_text("")
    (here / "clean").symlink_to(root / "clean_output.sh")
    subprocess.run(["bash", str(here / "clean")], cwd=here, check=True)
    assert (here / "outputs" / "x.pt").exists() and not (root / "outputs" / "x.pt").exists()
