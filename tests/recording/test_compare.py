"""The comparison of a folder's tensors agrees with a comparison of every pair by itself."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from denoscope.foundation.errors import UserError
from denoscope.recording import compare as module
from denoscope.recording.compare import compare


def write(folder, **values):
    for name, value in values.items():
        torch.save(value, folder / f"{name}.pt")


def brute_force(folder):
    """{(first, second): (equal, largest difference or None)} from each pair of files."""
    loaded = {path.name: torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt"))}
    found = {}
    for a, b in itertools.combinations(loaded, 2):
        x, y = loaded[a], loaded[b]
        alike = x.shape == y.shape and x.dtype == y.dtype
        finite = bool(x.isfinite().all() and y.isfinite().all())
        # numpy in float64: neither the routine nor the precision under test.
        difference = (
            float(np.abs(x.double().numpy() - y.double().numpy()).max()) if alike and finite else None
        )
        found[a, b] = (alike and torch.equal(x, y), difference)
    return found


def numbers_of(comparison):
    """The same, from the comparison under test."""
    group = {name: k for k, names in enumerate(comparison.groups) for name in names}
    found = {}
    for a, b in itertools.combinations(sorted(group), 2):
        value = float(comparison.distance[group[a], group[b]])
        found[a, b] = (group[a] == group[b], None if math.isnan(value) else value)
    return found


def agree(comparison, folder):
    expected, got = brute_force(folder), numbers_of(comparison)
    assert expected.keys() == got.keys()
    for pair, (equal, difference) in expected.items():
        assert got[pair][0] == equal, pair
        assert got[pair][1] == (None if difference is None else pytest.approx(difference, rel=1e-6)), pair
    assert comparison.equal_pairs == sum(equal for equal, _ in expected.values())
    different = [value for equal, value in expected.values() if not equal and value is not None]
    if different:
        assert comparison.closest.difference == pytest.approx(min(different), rel=1e-6)
        assert comparison.farthest.difference == pytest.approx(max(different), rel=1e-6)
        for pair in (comparison.closest, comparison.farthest):
            assert expected[pair.first, pair.second][1] == pytest.approx(pair.difference, rel=1e-6)
    else:
        assert comparison.closest is None and comparison.farthest is None


def mixed(folder, count=16):
    """Random tensors: some equal, some that differ by little, some of another shape or dtype."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(count, 1, 8, 8, generator=generator)
    base[7] = base[3]
    base[11] = base[3]
    base[14] = base[12]
    base[13] = base[5]
    base[13, 0, 2, 2] += 1e-4
    for k, x in enumerate(base):
        torch.save(x.clone(), folder / f"sample_{k:04d}.pt")
    write(folder, wide=torch.zeros(1, 8, 9), wide2=torch.ones(1, 8, 9), double=base[0].double())


@pytest.mark.parametrize("memory", [module.MEMORY, 3000, 1])
def test_all_pairs_agree_with_brute_force_in_any_memory(tmp_path, monkeypatch, memory):
    mixed(tmp_path)
    monkeypatch.setattr(module, "MEMORY", memory)
    comparison = compare(tmp_path)
    agree(comparison, tmp_path)
    assert ("sample_0003.pt", "sample_0007.pt", "sample_0011.pt") in comparison.groups
    assert {comparison.closest.first, comparison.closest.second} == {"sample_0005.pt", "sample_0013.pt"}
    assert comparison.files == 19 and len(comparison.groups) == 16


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
)
def test_other_dtypes_agree_with_brute_force(tmp_path, dtype):
    values = torch.tensor([[0, 1, 200], [0, 1, 100], [1, 0, 0], [0, 1, 200]]).to(dtype)
    write(tmp_path, **{f"t{k}": row.clone() for k, row in enumerate(values)})
    agree(compare(tmp_path), tmp_path)


def test_zeros_are_equal_whatever_their_sign(tmp_path):
    write(tmp_path, a=torch.tensor([0.0, 1.0]), b=torch.tensor([-0.0, 1.0]))
    assert compare(tmp_path).groups == (("a.pt", "b.pt"),)


def test_tensors_that_are_not_finite_are_reported(tmp_path):
    write(
        tmp_path,
        a=torch.tensor([0.0, 1.0]),
        b=torch.tensor([0.0, 3.0]),
        nan1=torch.tensor([math.nan, 1.0]),
        nan2=torch.tensor([-math.nan, 1.0]),
        inf=torch.tensor([math.inf, 1.0]),
    )
    comparison = compare(tmp_path)
    assert ("nan1.pt", "nan2.pt") in comparison.groups
    assert comparison.finite == (True, True, False, False)
    assert comparison.closest == comparison.farthest == ("a.pt", "b.pt", 2.0)
    assert "3 files with NaN or Inf" in str(comparison)
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_complex_tensors_that_differ_are_distinguished(tmp_path):
    write(tmp_path, a=torch.ones(2) * 1j, b=torch.ones(2) * 1j, c=torch.ones(2) * 2j)
    comparison = compare(tmp_path)
    assert comparison.groups == (("a.pt", "b.pt"), ("c.pt",)) and comparison.closest is None


def test_the_shape_counts_even_with_the_same_values(tmp_path):
    write(
        tmp_path, a=torch.zeros(4), b=torch.zeros(2, 2), c=torch.zeros(0), d=torch.zeros(()), e=torch.zeros(0)
    )
    comparison = compare(tmp_path)
    assert comparison.groups == (("a.pt",), ("b.pt",), ("c.pt", "e.pt"), ("d.pt",))
    assert comparison.closest is None
    assert "different shape" in str(comparison)


def test_strided_tensors_are_compared_by_value(tmp_path):
    x = torch.arange(12.0).view(3, 4)
    write(tmp_path, a=x.t().contiguous(), b=x.t(), c=torch.arange(24.0).view(3, 8)[:, ::2].t())
    comparison = compare(tmp_path)
    assert comparison.groups == (("a.pt", "b.pt"), ("c.pt",))
    assert comparison.closest.difference == 12 - 0 + 22 - 11 - 12  # the last values: 22 and 11


def test_a_small_folder_lists_every_pair(tmp_path):
    write(tmp_path, a=torch.zeros(2), b=torch.ones(2), c=torch.tensor([0.0, 0.25]), d=torch.zeros(2))
    lines = str(compare(tmp_path)).splitlines()
    assert "4 files, 3 different tensors; 1 of 6 pairs equal" in lines[0]
    assert "  a.pt = d.pt" in lines
    assert [line.split() for line in lines[-3:]] == [
        ["0.25", "a.pt,", "c.pt"], ["1", "a.pt,", "b.pt"], ["1", "b.pt,", "c.pt"],
    ]  # fmt: skip


def test_one_file_has_nothing_to_be_compared_with(tmp_path):
    write(tmp_path, a=torch.zeros(2))
    text = str(compare(tmp_path))
    assert "1 file, 1 different tensor; 0 of 0 pairs equal" in text


def test_hundreds_of_files_are_compared_readably(tmp_path):
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(300, 1, 28, 28, generator=generator)
    for k in range(0, 300, 10):
        stack[k + 1] = stack[k]
    for k, x in enumerate(stack):
        torch.save(x.clone(), tmp_path / f"sample_{k:04d}.pt")
    comparison = compare(tmp_path)
    assert len(comparison.groups) == 270 and comparison.equal_pairs == 30
    numbers = stack.flatten(1).numpy()
    for k in (0, 13, 299):
        group = {name: g for g, names in enumerate(comparison.groups) for name in names}
        row = np.abs(numbers - numbers[k]).max(1)
        mine = [
            comparison.distance[group[f"sample_{k:04d}.pt"], group[f"sample_{j:04d}.pt"]] for j in range(300)
        ]
        np.testing.assert_allclose(mine, row, rtol=1e-6)
    lines = str(comparison).splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) < 160
    assert "and 20 more groups of equal tensors" in str(comparison)


def test_the_report_stays_short_whatever_is_in_the_folder(tmp_path):
    for k in range(25):
        torch.save(torch.zeros(k + 1), tmp_path / f"a{k:03d}.pt")
        torch.save(torch.full((k + 1,), float("nan")), tmp_path / f"b{k:03d}.pt")
        torch.save(torch.zeros(k + 1), tmp_path / f"c{k:03d}.pt")
    assert len(str(compare(tmp_path)).splitlines()) <= 40


def test_the_dict_holds_everything_and_is_json(tmp_path):
    mixed(tmp_path)
    comparison = compare(tmp_path)
    data = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [group["files"] for group in data["groups"]] == [list(group) for group in comparison.groups]
    assert data["files"] == 19 and data["different_tensors"] == len(comparison.groups)
    assert data["closest"] == comparison.closest._asdict()
    for i, j in itertools.product(range(len(comparison.groups)), repeat=2):
        value = comparison.distance[i, j]
        assert data["differences"][i][j] == (None if math.isnan(value) else value)
        assert data["differences"][i][j] == data["differences"][j][i]


def test_a_missing_or_empty_folder_and_a_bad_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no .pt files"):
        compare(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        compare(tmp_path / "none")
    (tmp_path / "bad.pt").write_text("no tensor")
    with pytest.raises(UserError, match=r"bad\.pt"):
        compare(tmp_path)
