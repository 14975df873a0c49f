"""The schemas survive garbage collections at any moment: msgspec 0.22 crashes while it prepares some types.

`int | tuple[int, int]` with bounds on the integers is one of them.
"""

import subprocess
import sys

CODE = """
import gc
from denoscope.foundation.reading import json_files, result_files
from denoscope.interventions import plan_file
from denoscope.models import folder_schema
from denoscope.noise import noise_files
from denoscope.storage import attribute_schema, completion, layout_checksums
from denoscope.storage.pt import layout as pt
from denoscope.storage.zarr import layout as zarr

modules = (result_files, plan_file, folder_schema, noise_files, attribute_schema, completion, layout_checksums, pt, zarr)
schemas = {
    kind
    for module in modules
    for kind in vars(module).values()
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__") and kind.__module__ == module.__name__
}
gc.set_threshold(1)
checked = 0
for kind in schemas:
    if kind.__name__ in ("RootFile",):
        continue
    for _ in range(4):
        for content in ({}, [], {name: 1 for name in kind.__annotations__}, {name: [] for name in kind.__annotations__}):
            try:
                json_files.check(content, kind, "f.json")
            except json_files.MalformedError:
                checked += 1
gc.collect()
assert checked > 200, checked
"""


def test_no_garbage_collection_crashes_a_schema():
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
