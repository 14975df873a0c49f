"""A real S3 server on loopback, in a process of its own: moto's, behind a layer that counts requests and spoils some.

moto does not fit the pinned libraries of the tests, so it is installed in a folder of its own, from
requirements-s3.txt, and this file is also the program that runs there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIBRARIES = Path(sys.prefix) / "s3"
"""The folder of moto and of the libraries that it needs."""
CONTROL = "/-denoscope-test-"
BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDONLYFORTESTS",
    "AWS_SECRET_ACCESS_KEY": "only-for-tests/secret",
    "AWS_REGION": "us-east-1",
}


@dataclass
class Faults:
    """What goes wrong: every `every`-th request gets a 503 (`unseen`: after it has done its work).

    Requests whose method is in `methods` and whose path contains `only` are counted and fail; `status` replaces 503.
    A listing lacks the newest `late` keys.
    """

    every: int = 0
    unseen: bool = False
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    only: str = ""
    status: str = "503 Slow Down"
    late: int = 0


class S3Server:
    """The server as tests see it."""

    def __init__(self) -> None:
        program = [sys.executable, "-s", __file__]
        pages = {"MOTO_S3_DEFAULT_MAX_KEYS": "50"}
        environment = {**os.environ, "PYTHONPATH": str(LIBRARIES), **ENVIRONMENT, **pages}
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{port}"
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def reset(self) -> None:
        """Empty the bucket, and heal all faults."""
        self._send("reset", {})

    def spoil(self, **faults: Any) -> None:
        """Let requests fail from now on; see `Faults`."""
        self._send("spoil", asdict(Faults(**faults)))

    def heal(self) -> None:
        """Let no request fail from now on."""
        self.spoil()

    def requests(self) -> list[str]:
        """The requests since the last call, as "METHOD /bucket/key?query"."""
        return self._send("requests", {})

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """All values of the bucket below a prefix, by key, as the server's own memory has them."""
        found = self._send("contents", {"prefix": prefix})
        return {key: bytes.fromhex(value) for key, value in found.items()}

    def put(self, key: str, data: bytes) -> None:
        """Store a value without a request."""
        self._send("put", {"key": key, "value": data.hex()})

    def delete(self, key: str) -> None:
        """Remove a value without a request."""
        self._send("delete", {"key": key})

    def uploads(self) -> int:
        """How many multipart uploads are neither complete nor aborted."""
        return self._send("uploads", {})

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _send(self, action: str, content: dict[str, Any]) -> Any:
        body = json.dumps(content).encode()
        with urllib.request.urlopen(f"{self.endpoint}{CONTROL}{action}", data=body) as answer:
            return json.load(answer)


class Spoiled:
    """moto's application behind the faults, with the actions that `S3Server` asks for."""

    def __init__(self, application: Any, backend: Any) -> None:
        self.application, self.backend = application, backend
        self.lock = threading.Lock()
        backend.create_bucket(BUCKET, ENVIRONMENT["AWS_REGION"])
        self.reset()
        listed = backend.list_objects

        def late(bucket: Any, *arguments: Any, **options: Any) -> Any:
            keys, *rest = listed(bucket, *arguments, **options)
            newest = sorted(bucket.keys.values(), key=lambda key: key.last_modified)[-self.faults.late :]
            hidden = {key.name for key in newest} if self.faults.late else set()
            return [key for key in keys if key.name not in hidden], *rest

        backend.list_objects = late

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path.startswith(CONTROL):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            answer = getattr(self, path.removeprefix(CONTROL))(**json.loads(body))
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(answer).encode()]
        if not self._fails(f"{method} {path}?{environ.get('QUERY_STRING', '')}".rstrip("?"), method, path):
            return self.application(environ, start)
        if self.faults.unseen:
            list(self.application(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(self.faults.status, [("Content-Type", "application/xml")])
        return [b"<Error><Code>Spoiled</Code></Error>"]

    def _fails(self, request: str, method: str, path: str) -> bool:
        """Note a request; whether it is one that fails."""
        with self.lock:
            self.seen.append(request)
            if not self.faults.every or method not in self.faults.methods or self.faults.only not in path:
                return False
            self.counted += 1
            return self.counted % self.faults.every == 0

    def reset(self) -> None:
        self.faults, self.counted, self.seen = Faults(), 0, list[str]()
        self._bucket.keys.clear()
        self._bucket.multiparts.clear()

    def spoil(self, **faults: Any) -> None:
        self.faults, self.counted = Faults(**faults), 0

    def requests(self) -> list[str]:
        with self.lock:
            seen, self.seen = self.seen, []
        return seen

    def contents(self, prefix: str) -> dict[str, str]:
        keys = self._bucket.keys
        return {name: keys[name].value.hex() for name in list(keys) if name.startswith(prefix)}

    def put(self, key: str, value: str) -> None:
        self.backend.put_object(BUCKET, key, bytes.fromhex(value))

    def delete(self, key: str) -> None:
        self.backend.delete_object(BUCKET, key)

    def uploads(self) -> int:
        return len(self._bucket.multiparts)

    @property
    def _bucket(self) -> Any:
        return self.backend.buckets[BUCKET]


def main() -> None:
    """Serve until the standard input ends, as it does when the tests end in whatever way."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None: ...

    moto = DomainDispatcherApplication(create_backend_app)
    application = Spoiled(moto, s3_backends["123456789012"]["aws"])
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
