"""`steps` and `num_steps` are one argument, in every public function that takes it."""

import inspect

import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.recording import verify


@accepts_num_steps
def run(state, *, steps=50):
    """Returns what it was given."""
    return state, steps


def test_both_names_reach_the_function():
    assert run(1, steps=3) == run(1, num_steps=3) == (1, 3)
    assert run(1) == (1, 50)


def test_both_names_in_one_call_are_refused_with_their_values():
    with pytest.raises(ds.UserError, match=r"steps=3 .*num_steps=4"):
        run(1, steps=3, num_steps=4)


def test_an_unknown_argument_stays_a_type_error():
    with pytest.raises(TypeError, match="nsteps"):
        run(1, nsteps=3)


def test_signature_name_and_docstring_are_those_of_the_function():
    assert str(inspect.signature(run)) == "(state, *, steps=50)"
    assert run.__name__ == "run"
    assert run.__doc__ == "Returns what it was given."


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
