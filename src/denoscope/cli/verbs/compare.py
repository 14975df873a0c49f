"""`denoscope compare`."""

from __future__ import annotations

from denoscope.cli.verb import Verb
from denoscope.config import Settings


def run(settings: Settings, _flags: None) -> None:
    from denoscope.recording.compare import compare

    print(compare(settings.default.compare_folder))


VERB = Verb(run, "Find the tensors of a folder that are equal.", {"default": "compare_folder:folder"})
