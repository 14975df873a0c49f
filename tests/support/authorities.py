"""Certificates for TLS, made on the spot with the command `openssl`, and how Dask is told of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl")
ROLES = ("client", "scheduler", "worker")
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


class Authority:
    """An authority of its own, with one certificate that it has signed."""

    def __init__(self, folder: Path, name: str):
        self.file = folder / f"{name}.pem"
        self.certificate, self.key = folder / f"{name}-node.pem", folder / f"{name}-node.key"
        own_key = folder / f"{name}.key"
        make("-keyout", own_key, "-out", self.file, "-subj", f"/CN={name}")
        make(
            *("-CA", self.file, "-CAkey", own_key, "-keyout", self.key, "-out", self.certificate),
            *("-subj", "/CN=node", "-addext", "basicConstraints=critical,CA:FALSE"),
        )

    @property
    def configuration(self) -> dict[str, str]:
        """What `dask.config.set` takes: this authority is trusted, and its certificate shown."""
        return {
            "distributed.comm.tls.ca-file": str(self.file),
            **{f"distributed.comm.tls.{role}.cert": str(self.certificate) for role in ROLES},
            **{f"distributed.comm.tls.{role}.key": str(self.key) for role in ROLES},
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables of the environment, which Dask reads when it is imported."""
        return {
            f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value
            for name, value in self.configuration.items()
        }


def make(*words: object) -> None:
    """Make a key and a certificate."""
    done = subprocess.run(
        ["openssl", "req", "-x509", *EC, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
