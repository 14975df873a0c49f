"""What `--cluster` accepts."""

import re

import pytest

import denoscope as ds
from denoscope.cluster.source import Address, Jobs, Local, parse


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("local", Local()),
        ("local:16", Local(16)),
        ("tcp://127.0.0.1:8786", Address("tcp://127.0.0.1:8786")),
        ("tls://login.example.org:8786", Address("tls://login.example.org:8786")),
        ("tcp://[::1]:65535", Address("tcp://[::1]:65535")),
        ("slurm:gpu jobs.yaml", Jobs("slurm", "gpu jobs.yaml")),
    ],
)
def test_each_source_is_read(text, source):
    assert parse(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "local:",
        "local:0",
        "local:10000",
        "local:two",
        "local:٣",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://::1:8786",
        "tcp://host/status:8787",
        "http://host:1",
        "slurm:",
        "k8s:x.yaml",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text):
    allowed = r"allowed: local, local:N \(N from 1 to 9999\), tcp://HOST:PORT"
    with pytest.raises(ds.UserError, match=f"cluster is {re.escape(repr(text))}; {allowed}"):
        parse(text)
