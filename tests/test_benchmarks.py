"""All compared ways of recording store the same numbers."""

import importlib.util
import math
import re
from pathlib import Path

import pytest
import torch
import xarray

import denoscope as ds
from benchmarks import basins, cluster, cuda, ways
from benchmarks.__main__ import table, time_bars
from benchmarks.ways import LAYERS, Outcome, Work
from denoscope.foundation.threads import threads_set_to

NAMES = ("sequence", *LAYERS)


def kept(way: str, folder: Path) -> dict[str, torch.Tensor]:
    """The arrays that one way wrote, by name: [samples, steps, …]."""
    work = Work(str(folder), samples=10, steps=2, tiny=True)
    with torch.inference_mode():
        assert ways.WAYS[way](work).seconds > 0
    if way in ("zarr", "fast"):
        data = xarray.open_zarr(folder / "run.zarr")
        return {name: torch.from_numpy(data[name].to_numpy()) for name in NAMES}
    if way == "pt":
        places = {name: (folder / "run" / ("sequences" if name == "sequence" else name)) for name in NAMES}
    else:
        places = {name: folder / name for name in NAMES}
    return {
        name: torch.stack([torch.load(path, weights_only=True) for path in sorted(place.glob("*.pt"))])
        for name, place in places.items()
    }


@pytest.fixture(scope="module")
def zarr(tmp_path_factory):
    return kept("zarr", tmp_path_factory.mktemp("zarr"))


@pytest.mark.parametrize("way", ["pt", "by_hand", "as_often_written", "nnsight"])
def test_every_way_keeps_the_same_numbers(way, zarr, tmp_path):
    if way == "nnsight" and not importlib.util.find_spec("nnsight"):
        pytest.skip("nnsight is installed for the benchmark alone")
    found = kept(way, tmp_path)
    for name in NAMES:
        assert torch.equal(found[name][:8], zarr[name][:8]), name
        # denoscope pads the last two of ten samples to a full call and the others do not, so that rounding differs:
        # by up to 1.05e-4 on the processors tried. A wrong sample or step differs by about 1.
        torch.testing.assert_close(found[name], zarr[name], rtol=0, atol=1e-3)


def test_bars_are_ratios_of_what_was_measured():
    outcomes = {
        "bare": Outcome(10.0),
        "zarr": Outcome(11.0, 10**9, 10**8),
        "raw": Outcome(2.0),
        "by_hand": Outcome(10.0),
    }
    bars = {bar.name: bar for bar in time_bars(outcomes)}
    assert bars["zarr ÷ the larger of bare and raw"].found == pytest.approx(1.1)
    assert "MISSED" in str(bars["zarr ÷ the larger of bare and raw"])
    assert set(bars) == {"zarr ÷ the larger of bare and raw", "zarr ÷ by_hand"}
    assert "1.100" in list(table(outcomes))[2]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "DiT" else pytest.mark.slow) for n in cuda.NETWORKS]
)
def test_the_script_for_cuda_runs_on_the_cpu(name, monkeypatch, capsys):
    monkeypatch.setattr(cuda, "NETWORKS", {name: cuda.NETWORKS[name]})
    monkeypatch.setattr(cuda, "WAYS", (False,))
    cuda.main(cuda.Options(device="cpu", quick=True))
    _, heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["network", "way"]
    network, way, sizes, differing, bits, largest, *_ = row.split()
    assert (network, way, sizes, differing, float(largest)) == (name, "exact", "4", "0", 0.0)
    subject = cuda.Subject.made(name, cuda.Options(device="cpu", quick=True))
    (x, layer), _ = subject.record(8, fast=False)
    assert int(bits.replace(",", "")) == 3 * 32 * (x.numel() + layer.numel())


def test_bits_that_differ_are_counted():
    a = torch.tensor([1.0, -2.0, 0.0])
    assert cuda.differing_bits(a, a.clone()) == 0
    # The sign is one bit; 1 and the next larger float32 differ in the last bit.
    assert cuda.differing_bits(a, torch.tensor([1.0 + 2**-23, 2.0, 0.0])) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_without_cuda_the_script_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        cuda.main(cuda.Options())
    assert stop.value.code == 2
    assert (
        capsys.readouterr().err
        == "no CUDA device is visible; allowed: a machine with one, or --device cpu --quick\n"
    )


def test_the_benchmark_of_maps_compares_each_with_all_of_its_cells(capsys):
    options = basins.Options(sizes=(16,), planes=("a", "b"), steps=1, repeats=1, first=16, shared=(8, 16))
    bars = list(basins.map_bars(options))
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "plane" and [row.split()[:2] for row in rows] == [["a", "16"], ["b", "16"]]
    # 256 cells of an audit are all cells: nothing is wrong, and nothing can be.
    assert all(row.split()[4:6] == ["0.0000%", "0.000%"] for row in rows)
    # Calls of 64 rows are filled up with cells that the audit will check, so that none of 4 has padding.
    assert all(float(row.split()[2].rstrip("%")) == 100 for row in rows)
    assert [bar.name for bar in bars] == ["16²: wrong labels", "16²: share of time ÷ of rows"]
    assert not any(math.isnan(bar.found) or math.isnan(bar.allowed) for bar in bars)


def test_the_benchmark_of_maps_times_pictures_and_counts_shared_points():
    digits = ds.load("digits", device="cpu")
    options = basins.Options(steps=1, repeats=1, first=16, shared=(8, 16))
    assert 0 < basins._first_picture(digits, options) < math.inf
    assert 0 < basins._lanes(digits, options) < math.inf
    (loop,) = basins.loop_bars(options)
    assert 0 < loop.found < math.inf and loop.allowed == 1.03
    # All cells are computed, a quarter of them for the coarser map.
    assert basins._shared(digits, options) == 0.75


def test_the_long_benchmarks_of_maps_run_at_small_sizes_when_they_are_asked_for(capsys):
    assert not list(basins.long_bars(basins.Options()))
    options = basins.Options(steps=1, mnist=16, zoom=26, zoom_levels=2)
    share, decades, rows, seconds = basins.long_bars(options)
    assert (
        share.name == "mnist 16²: share of rows" and 1 <= share.found < 3
    )  # an audit of 256 cells is all of them
    assert decades.found == pytest.approx(12 - math.log10(2))
    assert 0 < rows.found < 3 and seconds.found > 0
    assert "zoom: 2 levels; all levels that were asked for are finished" in capsys.readouterr().out


def test_the_benchmark_of_workers_times_recordings_and_units(workers, tmp_path, capsys):
    both = cluster.Workers(workers, workers, tmp_path)
    options = cluster.Options(digits=2, mnist=0, units=3, steps=1, repeats=1)
    with threads_set_to(1):
        efficiency, alone = cluster.efficiency_bars(both, options)
        units = list(cluster.unit_bars(both, options))
    assert re.match(r"digits: 2 × \d+\.\d s of two workers ÷ \d+\.\d s of one", efficiency.name)
    assert efficiency.found > 0 and efficiency.allowed == 1 / 0.9
    assert "digits, round 1: " in capsys.readouterr().err
    assert alone.name.startswith("  its network alone") and alone.found > 0
    assert [bar.allowed for bar in units] == [5, math.inf, 5, 5] and all(bar.found > 0 for bar in units)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_benchmark_of_planned_units_plans_them_all_and_does_some():
    memory, *_ = cluster.memory_bars(300)
    assert re.match(r"300 planned units, 20\d of them done: peak memory", memory.name)
    assert 0.1 < memory.found < 2
