"""Units on real worker processes: those that die, hang and fail."""

import itertools
import logging
import re
from functools import partial

import psutil
import pytest
from cluster_recipes import Deadly, Early, Told, Unloadable, Varying

import denoscope as ds
from denoscope.cli.from_settings import IMPORTED
from denoscope.cluster import connection, worker
from denoscope.cluster.connection import connected
from denoscope.cluster.crew import accepted, addresses, check_workers, crew
from denoscope.cluster.hand_out import HandOut, Rules
from denoscope.cluster.unit import Done, Unit


def handed_out(client, folder, *contents, **options):
    """The outcomes of units, by their numbers: their results, or the text of the error."""
    units = [Unit(f"unit {number}", (what, number)) for what, number in contents]
    with crew(client, Told(folder)) as crew_of_run:
        descriptions = list(crew_of_run.descriptions().values())
        outcomes = list(HandOut(crew_of_run, units, descriptions, kept="", **options).outcomes())
    assert len(outcomes) == len(units)
    return {
        outcome.unit.content[1]: outcome.result if isinstance(outcome, Done) else outcome.error
        for outcome in outcomes
    }


def doubled(numbers):
    return {number: 2 * number for number in numbers}


def test_every_unit_is_done_once_and_its_pieces_are_counted(workers, tmp_path):
    pieces = []
    contents = [("double", number) for number in range(20)]
    assert handed_out(workers, tmp_path, *contents, progress=pieces.append) == doubled(range(20))
    assert sum(pieces) == 20
    done = (tmp_path / "done").read_text().split()
    assert sorted(map(int, done)) == list(range(20))


def test_a_unit_that_raises_is_set_aside_with_its_error_and_the_rest_completes(workers, tmp_path):
    found = handed_out(
        workers, tmp_path, *[("raise" if number == 3 else "double", number) for number in range(8)]
    )
    assert found.pop(3) == "ValueError: 3 is refused"
    assert found == doubled([0, 1, 2, 4, 5, 6, 7])


def test_a_unit_that_kills_every_worker_is_set_aside_and_no_other_is_blamed(workers, tmp_path):
    contents = [("die" if number == 0 else "double", number) for number in range(6)]
    found = handed_out(workers, tmp_path, *contents, rules=Rules(deaths=1))
    assert "it was begun 2 times, and each time its worker died" in found.pop(0)
    assert found == doubled(range(1, 6))


def test_a_unit_whose_worker_dies_is_done_elsewhere(workers, tmp_path):
    contents = [("die once" if number in (1, 4) else "double", number) for number in range(6)]
    assert handed_out(workers, tmp_path, *contents, rules=Rules(deaths=2)) == doubled(range(6))


def test_a_unit_that_hangs_loses_its_worker_and_is_done_again(workers, tmp_path):
    ticks = itertools.count()

    def clock() -> float:
        """The time, which passes only while the unit hangs."""
        return float(next(ticks) if (tmp_path / "7.hung").exists() else 0)

    found = handed_out(workers, tmp_path, ("hang once", 7), rules=Rules(deaths=5, silence=10), clock=clock)
    assert found == {7: 14}


@pytest.mark.parametrize("leaves", ["leave once", "terminate once"])
def test_a_worker_that_leaves_on_purpose_is_not_counted(workers, tmp_path, leaves):
    contents = [(leaves if number == 2 else "double", number) for number in range(4)]
    assert handed_out(workers, tmp_path, *contents, rules=Rules(deaths=0)) == doubled(range(4))


def test_a_unit_whose_worker_dies_before_it_begins_is_set_aside(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(workers.cluster.scheduler, "allowed_failures", 0)
    found = handed_out(workers, tmp_path, (Deadly(), 0), rules=Rules(deaths=1))
    assert re.search(r"it was begun 2 times, .* worker tcp\S+ died", found[0])


@pytest.fixture
def own_worker(caplog):
    """A client of a worker process that this test may lose."""
    with (
        caplog.at_level(logging.INFO, logger=connection.__name__),
        connected("local:1", preload=IMPORTED) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", [Early, Varying])
def test_a_late_worker_that_cannot_take_part_leaves_and_its_units_are_done_elsewhere(
    own_worker, tmp_path, caplog, kind
):
    assert "starting 1 worker on this machine" in [each.message for each in caplog.get_records("setup")]
    units = [Unit(f"unit {number}", ("wait", number)) for number in range(8)]
    with crew(own_worker, kind(tmp_path)) as crew_of_run:
        compared = crew_of_run.descriptions()
        (tmp_path / "late").touch()
        own_worker.cluster.scale(2)
        own_worker.wait_for_workers(2)

        def go_on_without_the_late_one(_now):
            if set(addresses(own_worker)) == set(compared):
                (tmp_path / "go").touch()

        handing = HandOut(crew_of_run, units, compared.values(), kept="", watch=go_on_without_the_late_one)
        outcomes = list(handing.outcomes())
    assert {outcome.unit.content[1]: outcome.result for outcome in outcomes} == doubled(range(8))
    assert kind.late in caplog.text


def test_a_run_ends_where_the_only_worker_is_unfit(own_worker, tmp_path):
    clock = map(float, itertools.count(0, 20)).__next__
    with crew(own_worker, Early(tmp_path)) as crew_of_run:
        compared = crew_of_run.descriptions()
        (tmp_path / "late").touch()
        own_worker.restart_workers(list(compared))
        handing = HandOut(
            crew_of_run, [Unit("unit", ("double", 1))], compared.values(), kept="nothing is kept", clock=clock
        )
        with pytest.raises(
            ds.UserError, match=r"no worker is left: worker tcp\S+ came late .*; nothing is kept"
        ):
            list(handing.outcomes())


def test_a_run_ends_where_units_fail_one_after_the_other(workers, tmp_path):
    with pytest.raises(
        ds.UserError, match=r"3 units in a row failed, the last with: ValueError: . is refused"
    ):
        handed_out(workers, tmp_path, *[("raise", number) for number in range(9)], rules=Rules(failures=3))


@pytest.mark.parametrize(("seconds", "most"), [(0.01, 4), (2.0, 2)])
def test_no_unit_is_handed_out_after_a_stop(workers, tmp_path, seconds, most):
    """Up to so many units for each of two workers are on their way: more if they are quick, by a clock that the test moves."""
    units = [Unit(f"unit {number}", ("double", number)) for number in range(50)]
    done, clock = [], partial(next, itertools.count(step=seconds))
    with crew(workers, Told(tmp_path)) as crew_of_run:
        descriptions = list(crew_of_run.descriptions().values())
        handing = HandOut(
            crew_of_run, units, descriptions, kept="", stopping=lambda: len(done) >= 20, clock=clock
        )
        for outcome in handing.outcomes():
            done.append(outcome)
    assert len(done) == 20 + most * 2 - 1, "those that were on their way beside the twentieth"


def test_workers_that_differ_are_refused_unless_they_may(workers, tmp_path):
    with crew(workers, Varying(tmp_path)) as crew_of_run:
        found = crew_of_run.descriptions()
    with pytest.raises(ds.UserError, match=r"workers tcp.* and tcp.* differ \(device: \d+ → \d+\)"):
        accepted(found, allow_different_devices=False)
    distinct, differing = accepted(found, allow_different_devices=True)
    assert len(distinct) == 2 and len(differing) == 1


def test_a_worker_that_cannot_prepare_the_run_is_named_with_its_error(workers):
    with (
        crew(workers, Unloadable()) as crew_of_run,
        pytest.raises(ds.UserError, match=r"worker tcp\S+ cannot prepare the run: there is no model here"),
    ):
        crew_of_run.descriptions()


def test_workers_must_have_the_versions_of_this_process(workers, monkeypatch):
    check_workers(workers)
    monkeypatch.setattr(worker, "_version", lambda _library: "0")
    with pytest.raises(ds.UserError, match=r"worker tcp\S+ has other versions .*torch: 0 → "):
        check_workers(workers)


def test_nothing_listens_beyond_this_machine(workers):
    check_workers(workers)
    own = psutil.Process()
    connections = [
        item for process in [own, *own.children(recursive=True)] for item in process.net_connections()
    ]
    assert {item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
