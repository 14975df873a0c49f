"""A lack of memory ends a command in one line, wherever it shows."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from denoscope.foundation.errors import is_lack_of_memory


@contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 2 and one line if the block lacks memory, in an import too."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_lack_of_memory(error):
            raise
        # What could not be started is said below; Python would add that zarr's coroutine for it was never awaited.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        print(
            "error: the memory is too small; finished work is stored: free memory, or compute fewer samples at once",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
