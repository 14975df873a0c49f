"""Workers behind TLS: those who hold a certificate of the scheduler's authority share the work, all others are refused."""

import subprocess
import sys
from contextlib import closing

import dask
import pytest
from authorities import OPENSSL, Authority
from command_line import call, refuse, snapshot
from dask_processes import dask_processes
from distributed import LocalCluster

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
RECORD = "record --model digits --inputs noises --num_steps 3 --lanes 4 --batch_size 4"
SAME = "need certificates of the same authority"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """The authority of the scheduler and another one."""
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "own"), Authority(folder, "other")


@pytest.fixture(scope="module")
def address(authorities):
    """A scheduler that nobody may reach without a certificate, without workers."""
    with (
        dask.config.set(authorities[0].configuration),
        closing(
            LocalCluster(n_workers=0, protocol="tls://", host="127.0.0.1", dashboard_address="127.0.0.1:0")
        ) as cluster,
    ):
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        yield address


@pytest.fixture
def noises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("noise random --model digits --num_samples 12 --inputs noises")


@pytest.mark.usefixtures("noises")
@pytest.mark.parametrize(
    ("trusted", "shown", "fragments"),
    [
        (
            None,
            None,
            ["needs certificates; set distributed.comm.tls", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"],
        ),
        (0, None, ["needs certificates; set distributed.comm.tls"]),
        (1, 1, ["cannot be reached: ", "certificate", SAME]),
        (0, 1, ["cannot be reached: ", SAME]),
        (0, "none.pem", ["a certificate or key that distributed.comm.tls", "No such file"]),
    ],
)
def test_those_without_a_certificate_of_the_authority_are_refused_before_any_work(
    address, authorities, capsys, tmp_path, trusted, shown, fragments
):
    former = snapshot(tmp_path)
    configuration = {f"distributed.comm.tls.client.{kind}": None for kind in ("cert", "key")}
    configuration["distributed.comm.tls.ca-file"] = None if trusted is None else authorities[trusted].file
    if isinstance(shown, int):
        configuration |= {
            "distributed.comm.tls.client.cert": str(authorities[shown].certificate),
            "distributed.comm.tls.client.key": str(authorities[shown].key),
        }
    elif shown:
        configuration["distributed.comm.tls.client.cert"] = shown
    with dask.config.set({name: value and str(value) for name, value in configuration.items()}):
        refuse(capsys, f"{RECORD} --output run.zarr --cluster {address}", address, *fragments)
    assert snapshot(tmp_path) == former


@pytest.mark.slow
@pytest.mark.usefixtures("noises")
def test_workers_behind_tls_write_the_bytes_of_one_process(authorities, contents, tmp_path):
    with dask_processes(tmp_path, "tls", authorities[0].environment) as started:
        assert started.address.startswith("tls://127.0.0.1:")
        started.add_workers(2)
        line = f"{RECORD} --output tls.zarr --cluster {started.address}"
        done = subprocess.run(
            [sys.executable, "-m", "denoscope", *line.split()],
            env=started.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + started.printed()
    call(f"{RECORD} --output one.zarr --threads 1")
    assert contents(tmp_path / "tls.zarr") == contents(tmp_path / "one.zarr")
