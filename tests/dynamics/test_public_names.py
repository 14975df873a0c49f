"""The public face of ds.dynamics."""

from denoscope import dynamics
from denoscope.dynamics.result import Result


def test_dir_shows_the_public_names_and_nothing_else():
    assert dir(dynamics) == sorted(dynamics.__all__)
    for name in dynamics.__all__:
        assert getattr(dynamics, name).__doc__


def test_every_public_name_is_a_function_or_a_class():
    modules = [name for name in dynamics.__all__ if type(getattr(dynamics, name)).__name__ == "module"]
    assert not modules and issubclass(dynamics.Estimate, Result)
