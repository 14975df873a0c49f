"""How OpenMP threads wait: set by `import denoscope` unless the user or an earlier import of PyTorch decided it."""

import os
import subprocess
import sys

import pytest

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
