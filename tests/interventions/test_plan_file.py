"""Plans: written, read, stored with recordings, and given to the command."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import denoscope as ds
from denoscope.cli import command
from denoscope.foundation.errors import UserError
from denoscope.interventions.plan_file import read_plan, write_plan
from denoscope.interventions.spec import Intervention
from denoscope.recording import verify

LAYER = "mid_block"  # [16, 4, 4]
PLAN = [
    Intervention("mid_block", "scale", 0.5, steps="0:2", channels=[0, 3]),
    Intervention(["conv_in", "!conv_out"], "add", [float(k) for k in range(8)], samples=["sample_0001"]),
    Intervention("conv_out", "ablate"),
]


def test_an_error_within_a_generator_of_interventions_is_its_own(tmp_path):
    def broken():
        yield ds.Intervention(at="conv_in", do="ablate")
        raise TypeError("of the caller")

    with pytest.raises(TypeError, match="of the caller"):
        ds.write_plan(broken(), tmp_path / "plan.json")
    assert not (tmp_path / "plan.json").exists()
    ds.write_plan((item for item in [ds.Intervention(at="conv_in", do="ablate")]), tmp_path / "plan.json")
    assert len(ds.read_plan(tmp_path / "plan.json")) == 1


def test_a_plan_is_written_and_read(tmp_path, vector):
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


def test_the_same_numbers_are_the_same_value_in_every_form(tiny, x, tmp_path, vector):
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
        ds.record(
            tiny, x.subset([0]), steps=1, layers=[LAYER], interventions=Intervention(LAYER, "add", value)
        )
        for value in given
    ]
    assert len({json.dumps(run.attrs["fingerprint"]) for run in runs}) == 1
    assert len({run.final.to_numpy().tobytes() for run in runs}) == 1


def test_the_plan_is_in_the_provenance_and_resume_requires_the_same(record, tiny, x, tmp_path):
    rec = record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=PLAN[:1])
    assert rec.attrs["interventions"] == json.loads(json.dumps(rec.attrs["interventions"]))
    (resolved,) = rec.attrs["fingerprint"]["interventions"]
    assert resolved["at"] == ["mid_block"] and len(resolved["value"]["sha256"]) == 64
    record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=PLAN[:1], resume=True)
    for other in ([], [Intervention("mid_block", "scale", 0.4, steps="0:2", channels=[0, 3])]):
        with pytest.raises(UserError, match="interventions: "):
            record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=other, resume=True)


def halve(state, _call):
    return state / 2


def test_a_function_is_stored_by_its_name(record, tiny, x, tmp_path):
    written = [Intervention("mid_block", halve)]
    rec = record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=written)
    assert rec.attrs["fingerprint"]["interventions"][0]["function"] == f"{__name__}.halve"
    record(tiny, x, tmp_path / "a.zarr", steps=2, interventions=written, resume=True)
    with pytest.raises(UserError, match="interventions: "):
        record(
            tiny, x, tmp_path / "a.zarr", steps=2, resume=True,
            interventions=[Intervention("mid_block", lambda state, _call: state / 2)],
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


def test_the_command_takes_a_plan_and_its_samples_can_be_recomputed(mine, tmp_path, capsys):
    plain, out = str(tmp_path / "plain.zarr"), str(tmp_path / "run.zarr")
    command.main([*mine, "--output", plain])
    command.main([*mine, "--output", out, "--intervene", str(tmp_path / "plan.json")])
    one, other = (ds.open(path).final.to_numpy() for path in (plain, out))
    assert [np.array_equal(a, b) for a, b in zip(one, other, strict=True)] == [True] * 3 + [False, True]
    (tmp_path / "plan.json").unlink()  # the recording holds the plan
    assert verify.store(tmp_path / "run.zarr", recompute=5).sound
    capsys.readouterr()


def test_a_dry_run_lists_interventions_with_their_layers(mine, tmp_path, capsys):
    (tmp_path / "plan.json").write_text(
        '{"interventions": [{"at": "*_blocks.0", "do": "scale", "value": 2}]}'
    )
    command.main(
        [*mine, "--output", str(tmp_path / "a"), "--intervene", str(tmp_path / "plan.json"), "--dry_run"]
    )
    assert "  intervention: scale at down_blocks.0, up_blocks.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("samples", "ending"),
    [
        (["sample_0003", "other"], ", in 1 of 5 samples"),
        ("noise_0003", ", in no sample: none has the name noise_0003 (the first is sample_0000)"),
    ],
)
def test_a_dry_run_counts_the_samples_of_an_intervention(mine, tmp_path, capsys, samples, ending):
    write_plan([Intervention("mid_block", "scale", 0.0, samples=samples)], tmp_path / "plan.json")
    command.main(
        [*mine, "--output", str(tmp_path / "a"), "--intervene", str(tmp_path / "plan.json"), "--dry_run"]
    )
    assert f"  intervention: scale at mid_block{ending}\n" in capsys.readouterr().out


def test_samples_with_a_function_or_a_changed_value_are_not_recomputed(record, model, tmp_path, vector):
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
    with pytest.raises(UserError, match="has changed"):
        verify.store(tmp_path / "v.zarr", recompute=1)


def test_a_compiled_run_and_two_plans_are_errors(record, tiny, x, tmp_path):
    write_plan(PLAN, tmp_path / "plan.json")
    with pytest.raises(UserError, match="fast"):
        record(tiny, x, tmp_path / "a.zarr", interventions=PLAN, fast=True)
    with pytest.raises(UserError, match="both given"):
        record(tiny, x, tmp_path / "a.zarr", interventions=PLAN, intervene=tmp_path / "plan.json")


PLANS = [
    ("{", "is not JSON"),
    ("[]", "object"),
    ('{"interventions": 3}', "allowed:"),
    ('{"interventions": [], "format_version": 2}', "format version 2"),
    ('{"interventions": [], "formt": 2}', "unknown key 'formt'; the nearest are format"),
    ('{"interventions": [3]}', r"interventions\[0\] 3"),
    ('{"interventions": [{"at": "a"}]}', "lacks 'do'"),
    ('{"interventions": [{"at": "a", "do": "scale", "value": 1, "step": 1}]}', "unknown key 'step'; the nearest are steps"),
    ('{"interventions": [{"at": "a", "do": "ablat"}]}', "'ablat'; the nearest is ablate"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "match"), PLANS)
def test_a_wrong_plan_is_an_error_of_one_line(tmp_path, content, match):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=match) as refused:
        read_plan(tmp_path / "plan.json")
    assert "plan.json" in str(refused.value) and "\n" not in str(refused.value)


def test_the_command_refuses_a_wrong_plan_before_any_work(mine, tmp_path, capsys):
    content, match = PLANS[-1]
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        command.main(
            [*mine, "--output", str(tmp_path / "run.zarr"), "--intervene", str(tmp_path / "plan.json")]
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and re.search(f"--intervene: .*plan.json.*{match}", line)
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"do": []},
        {"do": {"a": 1}},
        {"value": "n" * 400 + ".pt"},
        {"value": 10**400},
        {"value": [10**30, None]},
        {"steps": "9" * 500},
        {"steps": "0:" + "9" * 50},
        {"steps": [10**30]},
        {"channels": "9" * 5000},
        {"at": "\ud800"},
        {"do": "swap", "value": "n" * 400},
    ],
)
def test_odd_values_of_a_plan_are_refused_in_one_line(tiny, tmp_path, change):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"interventions": [{"at": "mid_block", "do": "set", "value": 0.5} | change]}))
    with pytest.raises(UserError) as refused:
        ds.sample(tiny, ds.noise.random(1, tiny.shape), steps=1, interventions=ds.read_plan(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, '{"interventions": {}}', '{"interventions": [3]}', "3"]
)
def test_what_is_not_a_plan_is_refused_and_named(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"plan\.json"):
        ds.read_plan(path)
