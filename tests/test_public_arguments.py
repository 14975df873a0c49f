"""Every public function with values of the wrong kind: it succeeds, or says in one line what is wrong."""

import inspect
import json
import re
from pathlib import Path

import public_functions
import pytest
from hypothesis import strategies as st
from public_functions import CALLBACKS, FUNCTIONS, WRONG, fault, trials
from random_examples import try_examples

import denoscope as ds

pytestmark = pytest.mark.filterwarnings("ignore")
EACH = 41
"""Of the trials, every 41st is made by `make test`: another value for each argument."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    return public_functions.calls(tmp_path_factory.mktemp("calls"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_public_function_is_tried(calls):
    assert set(calls) == set(public_functions.public_names())


def test_each_call_succeeds_with_its_own_arguments(calls):
    faults = {name: fault(call, {}) for name, call in calls.items()}
    assert not {name: found for name, found in faults.items() if found}


def found_faults(calls, chosen):
    faults = {trial: fault(calls[trial[0]], {trial[1]: trial[2]}) for trial in chosen}
    return {trial: found for trial, found in faults.items() if found}


def test_a_wrong_value_is_refused_in_one_line(calls):
    assert not found_faults(calls, trials(calls)[::EACH])


MISTAKES = {
    "ds.record": [
        ("denoiser", "text", "denoiser is 'x'; allowed: a denoiser, from ds.load("),
        ("progress", "3", "progress is 3"),
    ],
    "ds.open": [("path", "nan array", "path is an ndarray; allowed: a path")],
    "ds.classify": [
        ("images", "generator", "images is a generator; allowed: an array"),
        ("reject", "3", "reject is 3; allowed: True or False"),
    ],
    "ds.figures.draw_entropy": [
        ("ax", "3", "ax is 3; allowed: a matplotlib axis"),
        ("level", "text", "level is 'x'; allowed: a result of ds.dynamics.speciation or None"),
    ],
    "ds.figures.draw_exponents": [
        ("theory", "dict", "theory['a'] is 1; allowed: a result of gaussian_theory")
    ],
    "ds.Intervention": [
        ("value", "objects", "'value' of an intervention is an array of object"),
        ("at", "rank 0", "'at' of an intervention is tensor(1.)"),
    ],
    "ds.noise.read": [
        ("folder", "null character", "folder is 'a\\x00b'; allowed: a path"),
        ("shape", "path", "shape is PosixPath('nowhere')"),
    ],
    "ds.dynamics.lyapunov": [("iterations", "huge", "allowed: an integer of at least 40 and below 2**63")],
}


IMPOSSIBLE = ("loop", "loop/below.npz", "file/below", "n" * 300, f"missing/{'n' * 300}.html", "null\0byte")
"""Paths where nothing can be."""
OTHERWISE_TYPED = {"ds.load": "source", "ds.report": "sources", "ds.basins.label_of": "classifier"}
"""Arguments that take paths among much else, so that their annotation does not show it."""


def path_arguments(calls):
    """(name of the function, argument) of every argument that takes a path."""
    for name, call in calls.items():
        for argument, item in inspect.signature(call.function).parameters.items():
            annotation = str(item.annotation)
            is_path = re.search(r"\bPath(Like)?\b", annotation) or annotation in (
                "Directions",
                "ClassifierSource",
            )
            if is_path or (name, argument) in OTHERWISE_TYPED.items():
                yield name, argument


def refused_paths(function, argument, arguments):
    """What is wrong in the refusals of impossible paths as an argument of a call."""
    wrong = []
    for path in IMPOSSIBLE:
        for given in (path, Path(path)):
            try:
                function(**{**arguments, argument: given})
                wrong.append(f"{argument}={given!r} is accepted")
            except ds.UserError as error:
                if argument not in str(error) or path[:4] not in str(error):
                    wrong.append(f"{argument}={given!r}: {error}")
            except Exception as error:
                wrong.append(f"{argument}={given!r}: {type(error).__name__}: {error}")
    return wrong


@pytest.fixture
def _oddities(tmp_path, _elsewhere):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("knot")
    (tmp_path / "knot").symlink_to("loop")


@pytest.mark.usefixtures("_oddities")
def test_a_path_where_nothing_can_be_is_refused_by_every_argument(calls, tmp_path):
    before, tried = sorted(tmp_path.rglob("*")), list(path_arguments(calls))
    wrong = [
        f"{name}: {fault}"
        for name, argument in tried
        for fault in refused_paths(calls[name].function, argument, calls[name].arguments)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 30 and sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("_oddities")
def test_a_path_where_nothing_can_be_is_refused_by_methods(calls):
    recording = ds.open(calls["ds.open"].arguments["path"])
    assert not refused_paths(recording.export, "folder", {})
    assert not refused_paths(ds.noise.random(1, (1, 4, 4)).write, "folder", {})


@pytest.mark.parametrize("name", MISTAKES)
def test_the_argument_its_value_and_what_is_allowed_are_named(calls, name):
    call = calls[name]
    for argument, value, message in MISTAKES[name]:
        with pytest.raises(ds.UserError) as caught:
            call.function(**{**call.arguments, argument: WRONG[value]()})
        assert message in str(caught.value)


def test_every_public_function_and_class_refuses_unknown_arguments(calls):
    for call in calls.values():
        with pytest.raises(
            ds.UserError, match=rf"^{call.function.__name__}\(\) has no argument 'qqq'; "
        ) as caught:
            call.function(**call.arguments, qqq=1)
        assert isinstance(caught.value, TypeError)


CALLED = {
    ("ds.Checkpoint", "progress"): "f(done, total)",
    ("ds.Intervention", "do"): "f(state, call)",
    ("ds.basins.PointLabels", "label"): "f(points [n, d])",
    ("ds.basins.label_of", "classifier"): "f(Tensor)",
    ("ds.basins.map", "callback"): "f(the map so far)",
    ("ds.basins.map", "classifier"): "f(Tensor)",
    ("ds.basins.tiles", "classifier"): "f(Tensor)",
    ("ds.basins.zoom", "classifier"): "f(Tensor)",
    ("ds.dynamics.commitment", "label_of"): "f(Tensor)",
    ("ds.dynamics.fixed_points", "step"): "f(Tensor)",
    ("ds.dynamics.lyapunov", "step"): "f(state)",
    ("ds.dynamics.orbit", "step"): "f(state)",
    ("ds.dynamics.orbit_diagram", "observable"): "f(Tensor)",
    ("ds.dynamics.orbit_diagram", "step_of"): "f(float)",
    ("ds.dynamics.spectra", "checkpoint_of"): "f(str)",
    ("ds.dynamics.u_turn", "label_of"): "f(Tensor)",
    ("ds.dynamics.uncertainty_exponent", "label_of"): "f(points [n, d])",
    ("ds.gradient", "objective"): "f(Tensor)",
}
"""How each function that a caller passes is called."""


@pytest.mark.parametrize(("name", "argument"), CALLED, ids=str)
def test_a_function_that_takes_other_arguments_is_refused_before_it_is_called(calls, name, argument):
    call, values = calls[name], dict(calls[name].arguments)
    values.pop("value", None) if argument == "do" else None

    def none():
        raise AssertionError

    def four(a, b, c, d):  # noqa: ARG001
        raise AssertionError

    for f in (none, four):
        f.__name__ = "f"
        with pytest.raises(ds.UserError) as caught:
            call.function(**{**values, argument: f})
        message, taken = str(caught.value), "" if f is none else "a, b, c, d"
        assert (
            f"is f({taken}), which is called as {CALLED[name, argument]}; allowed: a function of" in message
        )


def test_swapped_numbers_and_shapes_are_refused_with_the_remedy():
    shape = (1, 4, 4)
    for make in (ds.noise.random, ds.noise.perturbed, ds.noise.sphere):
        with pytest.raises(ds.UserError, match=r"is \(1, 4, 4\) and shape is 5; they may be swapped"):
            make(shape, 5)
    with pytest.raises(
        ds.UserError, match=r"counts is \(1, 4, 4\) and shape is \(3, 2\); they may be swapped"
    ):
        ds.noise.plane(shape, (3, 2))


def test_arguments_in_the_wrong_order_are_refused_before_anything_is_computed(calls):
    arguments = calls["ds.record"].arguments
    with pytest.raises(
        ds.UserError,
        match=r"denoiser is .*RandomNoise.*; allowed: a denoiser.*; denoiser and x may be swapped",
    ):
        ds.record(arguments["x"], arguments["denoiser"])
    with pytest.raises(ds.UserError, match="denoiser is 'x'"):
        ds.record("x", arguments["x"])


def combinations(calls):
    """Two arguments of one function, each with a value."""

    def of(name):
        pairs = st.tuples(st.sampled_from(calls[name].names), st.sampled_from(list(WRONG)))
        return st.tuples(
            st.just(name), st.lists(pairs, min_size=2, max_size=3, unique_by=lambda pair: pair[0])
        )

    several = sorted(name for name, call in calls.items() if len(call.names) > 1)
    return st.sampled_from(several).flatmap(of)


def try_combinations(calls, count):
    def one(drawn):
        name, changes = drawn
        own = any(argument in CALLBACKS and value in FUNCTIONS for argument, value in changes)
        if not own and ("fast", "True") not in changes:
            assert fault(calls[name], dict(changes)) is None

    try_examples(combinations(calls), count, one)


def test_several_wrong_values_at_once_are_refused_in_one_line(calls):
    try_combinations(calls, 50)


@pytest.mark.slow
def test_several_wrong_values_at_once_are_refused_in_one_line_thousands_of_times(calls):
    try_combinations(calls, 10_000)


IN_THREE_GB = """
import json, resource, sys, tempfile, warnings
from pathlib import Path
warnings.simplefilter("ignore")
sys.path[:0] = {path!r}
import public_functions
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)
calls = public_functions.calls(Path(tempfile.mkdtemp(dir=".")))
faults = {{}}
for trial in public_functions.trials(calls):
    resource.setrlimit(resource.RLIMIT_CPU, (int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 30, resource.RLIM_INFINITY))
    if found := public_functions.fault(calls[trial[0]], {{trial[1]: trial[2]}}):
        faults[" ".join(trial)] = found
print(json.dumps(faults))
"""


@pytest.mark.slow
def test_every_wrong_value_is_refused_within_three_gigabytes(recorder, tmp_path):
    import sys

    code, printed, beside = recorder.block(tmp_path, code=IN_THREE_GB.format(path=sys.path))
    assert code == 0, beside
    assert json.loads(printed.splitlines()[-1]) == {}
