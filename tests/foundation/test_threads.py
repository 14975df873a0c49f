"""The number of CPU threads, and how they wait: set by `import denoscope` unless the user or PyTorch decided it."""

import os
import subprocess
import sys

import pytest
import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.threads import threads_set_to

PRINT = "import denoscope, os; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        (PRINT, {}, "10000"),
        (PRINT, {"GOMP_SPINCOUNT": "5"}, "5"),
        (PRINT, {"OMP_WAIT_POLICY": "PASSIVE"}, "None"),
        # Importing PyTorch itself takes seconds.
        (f"import sys, types; sys.modules['torch'] = types.ModuleType('torch'); {PRINT}", {}, "None"),
    ],
)
def test_the_import_limits_spinning_only_where_nobody_decided_it(code, given, expected):
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP", "OMP_WAIT"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_the_number_holds_while_the_block_runs():
    former = torch.get_num_threads()
    with threads_set_to(former + 1) as count:
        assert count == torch.get_num_threads() == former + 1
    assert torch.get_num_threads() == former


def test_the_number_holds_for_numpy_also_where_it_is_imported_later():
    code = """
import sys
from denoscope.foundation.threads import threads_set_to
with threads_set_to(1):
    assert "scipy.linalg" not in sys.modules
import numpy, scipy.linalg, threadpoolctl
def numbers():
    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}
former = numbers()
for count in (2, 3, 2):
    with threads_set_to(count):
        assert numbers() == {count}, numbers()
assert numbers() == former
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("count", [0, 1025, 10**8, 2.0])
def test_numbers_that_no_machine_has_are_refused(count):
    with (
        pytest.raises(UserError, match=r"threads is .*; allowed: (integers )?1 to 1024"),
        threads_set_to(count),
    ):
        pass
