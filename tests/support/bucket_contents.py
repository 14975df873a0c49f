"""The recording of a test in the bucket of the S3 server, compared with a local one."""

import json
from pathlib import Path

from s3_server import S3Server

KEY = "data/run.zarr"
URL = f"s3://bucket/{KEY}"
LOCK = "complete/lock"


def values(found: dict[str, bytes]) -> dict[str, object]:
    """The values of a recording by key without the lock and the date."""
    kept: dict[str, object] = {key: value for key, value in found.items() if key != LOCK}
    kept["zarr.json"] = json.loads(found["zarr.json"])
    kept["zarr.json"]["attributes"].pop("created")
    return kept


def check_equal(server: S3Server, local: Path) -> None:
    """Compare the bucket, which holds nothing else, with a local recording, key by key."""
    found = {key.removeprefix(f"{KEY}/"): value for key, value in server.contents().items()}
    files = {
        file.relative_to(local).as_posix(): file.read_bytes() for file in local.rglob("*") if file.is_file()
    }
    assert values(found) == values(files)
    assert LOCK not in found and server.uploads() == 0
