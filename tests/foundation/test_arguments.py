"""Types of arguments are checked; `steps` and `num_steps` are one argument in every public function that takes it."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked, calls_checked
from denoscope.recording import verify


@accepts_num_steps
def run(state, *, steps=50):
    """Returns its arguments."""
    return state, steps


def test_both_names_reach_the_function():
    assert run(1, steps=3) == run(1, num_steps=3) == (1, 3)
    assert run(1) == (1, 50)


def test_both_names_in_one_call_are_refused_with_their_values():
    with pytest.raises(ds.UserError, match=r"steps=3 .*num_steps=4"):
        run(1, steps=3, num_steps=4)


@accepts_num_steps
@calls_checked
def measure(state, path=None, /, count=1, *, steps=50, epsilon=None):
    return state, path, count, steps, epsilon


@calls_checked
class Plan:
    def __init__(self, at, *, value=0):
        self.at, self.value = at, value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure(1, num_step=2), "measure() has no argument 'num_step'; did you mean num_steps?"),
        (lambda: measure(1, epsilom=2), "measure() has no argument 'epsilom'; did you mean epsilon?"),
        (
            lambda: measure(1, qqq=2),
            "measure() has no argument 'qqq'; allowed: state, path, count, steps, epsilon, num_steps",
        ),
        (lambda: measure(), "measure() needs state; call it with (state, …)"),
        (
            lambda: measure(1, 2, 3, 4),
            "measure() takes 3 arguments by position (state, path, count), and got 4; give others by name: steps=…, epsilon=…",
        ),
        (
            lambda: measure(1, 2, 3, count=3),
            "measure() got count twice, by position and by name; give it once",
        ),
        (lambda: Plan(1, valu=2), "Plan() has no argument 'valu'; did you mean value?"),
        (lambda: Plan(value=2), "Plan() needs at; call it with (at, …)"),
        (
            lambda: Plan(1, 2),
            "Plan() takes 1 argument by position (at), and got 2; give others by name: value=…",
        ),
    ],
)
def test_a_wrong_call_is_refused_in_one_line_and_is_also_a_type_error(call, message):
    for kind in (ds.UserError, TypeError):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value) == message


def test_a_right_call_reaches_the_function_or_class():
    assert measure(1, 2, num_steps=3) == (1, 2, 1, 3, None)
    assert (Plan(1, value=2).value, str(inspect.signature(Plan))) == (2, "(at, *, value=0)")


def test_errors_inside_the_function_stay_as_they_are():
    @calls_checked
    def fails(x):
        return x()

    with pytest.raises(TypeError, match="not callable") as caught:
        fails(1)
    assert not isinstance(caught.value, ds.UserError)


def test_signature_name_and_docstring_are_those_of_the_function():
    assert str(inspect.signature(run)) == "(state, *, steps=50)"
    assert run.__name__ == "run"
    assert run.__doc__ == "Returns its arguments."


MODULES = [ds, ds.dynamics, ds.basins, verify]


def functions_of_steps():
    """Every public function with an argument `steps` that is a number of steps."""
    for module in MODULES:
        names = getattr(module, "__all__", None) or [
            name for name in vars(module) if not name.startswith("_")
        ]
        for name in names:
            value = getattr(module, name)
            if inspect.isfunction(value) and value.__module__.startswith("denoscope."):
                steps = inspect.signature(value).parameters.get("steps")
                if steps is not None and "Sequence" not in str(steps.annotation):
                    yield pytest.param(value, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("function", functions_of_steps())
def test_public_functions_refuse_both_names(function):
    with pytest.raises(ds.UserError, match="num_steps"):
        function(None, steps=3, num_steps=4)


def test_sampling_takes_the_second_name():
    denoiser = ds.load(Half(), scheduler="ddim", shape=(1, 2, 2), device="cpu")
    x_T = torch.ones(1, 1, 2, 2)
    assert torch.equal(ds.sample(denoiser, x_T, num_steps=3), ds.sample(denoiser, x_T, steps=3))
    assert not torch.equal(ds.sample(denoiser, x_T, num_steps=3), ds.sample(denoiser, x_T, steps=4))


class Half(nn.Module):
    def forward(self, x, _timestep):
        return x / 2


class Reports(Protocol):
    def __call__(self, done: int, /) -> None: ...


@arguments_checked
def typed(
    flag: bool = True,
    *,
    name: str | None = None,
    path: str | os.PathLike[str] | None = None,
    names: Sequence[str] = (),
    report: Reports | None = None,  # noqa: ARG001
    options: Mapping[str, int] | None = None,  # noqa: ARG001
    number: int = 0,  # noqa: ARG001
    anything: Any = None,  # noqa: ARG001
) -> str:
    return f"{flag} {name} {path} {names}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flag": 1}, "flag is 1; allowed: True or False"),
        ({"name": b"x"}, "name is b'x'; allowed: a string or None"),
        ({"path": "a\0"}, r"path is 'a\x00'; allowed: a path or None"),
        ({"path": 3}, "path is 3; allowed: a path or None"),
        ({"names": "abc"}, "names is 'abc'; allowed: a list of strings"),
        ({"names": ["a", 1]}, "names is ['a', 1]; allowed: a list of strings"),
        ({"report": 3}, "report is 3; allowed: a function or None"),
        ({"options": []}, "options is []; allowed: a mapping or None"),
    ],
)
def test_arguments_of_a_type_that_the_annotations_exclude_are_refused(values, message):
    with pytest.raises(ds.UserError) as caught:
        typed(**values)
    assert str(caught.value) == message


def test_a_path_of_bytes_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with os.scandir(os.fsencode(tmp_path)) as entries:
        (entry,) = entries
    with pytest.raises(ds.UserError, match=r"path is .*; allowed: a path or None"):
        typed(path=entry)


def test_positions_are_named_and_allowed_values_reach_the_function():
    with pytest.raises(ds.UserError, match=r"^flag is"):
        typed("yes")
    path, names = Path("a"), ("b",)
    assert typed(False, name="n", path=path, names=names, report=print, options={}) == "False n a ('b',)"
    assert typed(number="left to the function", anything=object()).startswith("True")
    with pytest.raises(ds.UserError, match=r"^typed\(\) has no argument 'other'"):
        typed(other=1)


def test_an_iterator_in_place_of_a_list_is_refused_with_the_remedy():
    with pytest.raises(ds.UserError, match=r"a list of strings; make a list of it: list\(…\)$"):
        typed(names=iter("ab"))
