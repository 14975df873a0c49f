"""A hub of models on loopback, to which the real client of huggingface_hub talks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Repository:
    """The files of each revision, and the faults of their delivery."""

    revisions: dict[str, Files]
    gated: bool = False
    breaks_off: str = ""
    """The file whose download ends in the middle."""
    status: int = 0
    """The status with which every request is answered, if it is not 0."""

    def commit(self, revision: str) -> str | None:
        """The commit of a branch, a tag or a commit."""
        commits = {name: hashlib.sha1(name.encode()).hexdigest() for name in self.revisions}
        return commits.get(revision) or next((c for c in commits.values() if c == revision), None)

    def files(self, commit: str) -> Files:
        return next(files for name, files in self.revisions.items() if self.commit(name) == commit)


@dataclass
class Hub:
    """The repositories by their ids, and the requests so far."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(self, name: str, folder: Path, *, revision: str = "main", **wrong: object) -> Repository:
        """A repository, or a further revision, with the files of a folder."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        repository = self.repositories.setdefault(name, Repository({}, **wrong))
        repository.revisions[revision] = files
        return repository

    def start(self) -> tuple[str, ThreadingHTTPServer]:
        """The address of a server, and the server, to be shut down."""
        handler = type("Bound", (_Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}", server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self) -> None:
        # A revision with slashes is quoted.
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        self.hub.requests.append(f"{self.command} {'/'.join(words)}")
        api = words[:2] == ["api", "models"]
        owner, name, *rest = words[2:] if api else words
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            return self.send(404, error="RepoNotFound")
        if repository.status:
            return self.send(repository.status)
        kind, revision, *path = rest
        commit = repository.commit(revision)
        if commit is None:
            return self.send(404, error="RevisionNotFound")
        files = repository.files(commit)
        if kind == "revision":
            # As on the real hub, everybody sees what a gated repository holds, but its files only with access.
            siblings = [{"rfilename": file} for file in files]
            return self.send_json({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings})
        if kind == "tree":
            return self.send_json([_entry(file, content) for file, content in files.items()])
        if repository.gated:
            return self.send(401, error="GatedRepo")
        if "/".join(path) not in files:
            return self.send(404, error="EntryNotFound")
        return self.send_file(repository, "/".join(path), files, commit, moved=kind == "moved")

    def send_file(self, repository: Repository, path: str, files: Files, commit: str, *, moved: bool) -> None:
        """Serve a file; weights are redirected to the place of large files."""
        content = files[path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob(content)}"', "Accept-Ranges": "bytes"}
        if _is_large(path) and not moved:
            there = f"{self.path.replace('/resolve/', '/moved/')}"
            linked = {
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
            }
            return self.send(302, headers=headers | linked | {"Location": there})
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        whole = content[begin:]
        sent = whole[: len(whole) // 2] if repository.breaks_off == path else whole
        return self.send(206 if begin else 200, sent, headers=headers, length=len(whole))

    def send_json(self, content: object) -> None:
        self.send(200, json.dumps(content).encode(), headers={"Content-Type": "application/json"})

    def send(
        self,
        status: int,
        content: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        error: str = "",
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        errors = {"X-Error-Code": error, "X-Error-Message": error} if error else {}
        for name, value in ((headers or {}) | errors).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
        if length is not None and length != len(content):
            self.close_connection = True


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


def _blob(content: bytes) -> str:
    """The name of a blob, as git names it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
    if _is_large(path):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry
