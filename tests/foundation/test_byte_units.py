import pytest

from denoscope.foundation.byte_units import format_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**42, "4.0 TiB"),
        (2**52, "4096.0 TiB"),
    ],
)
def test_bytes_are_given_in_the_largest_unit_that_fits(count, text):
    assert format_bytes(count) == text
