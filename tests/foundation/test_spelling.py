import pytest

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import as_flags, counted, naming, spelled


def test_an_argument_is_spelled_as_its_caller_writes_it():
    assert spelled("steps") == "steps"
    assert spelled("resume", True) == "resume=True"
    assert spelled("layers", "conv_in") == "layers='conv_in'"
    with as_flags({"steps": "--num_steps", "resume": "--resume", "layers": "--layers"}):
        assert spelled("steps") == "--num_steps"
        assert spelled("resume", True) == "--resume"
        assert spelled("layers", "conv_in") == "--layers conv_in"
        assert spelled("trajectories") == "trajectories", "not a flag of this command"
    assert spelled("steps") == "steps"


def test_an_error_begins_with_the_argument_that_caused_it():
    with pytest.raises(UserError, match=r"^layers: unknown layer 'x'$"), naming("layers"):
        raise UserError("unknown layer 'x'")
    with (
        pytest.raises(UserError, match=r"^--layers: unknown"),
        as_flags({"layers": "--layers"}),
        naming("layers"),
    ):
        raise UserError("unknown")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 workers"), (1, "1 worker"), (2, "2 workers"), (1234567, "1,234,567 workers")]
)
def test_a_noun_stands_in_the_plural_unless_there_is_one(number, text):
    assert counted(number, "worker") == text
