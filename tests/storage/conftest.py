"""What zarr makes of a plan, made once: a plan has the same metadata every time."""

import pytest

from denoscope.storage.zarr import metadata


@pytest.fixture(scope="session", autouse=True)
def _metadata_made_once():
    made, metadata_of = {}, metadata.metadata_of

    def once(plan, shard_entries):
        key = repr((plan, shard_entries))
        if key not in made:
            made[key] = metadata_of(plan, shard_entries)
        return dict(made[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(metadata, "metadata_of", once)
        yield
