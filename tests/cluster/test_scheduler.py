"""Addresses at which no scheduler answers: each is refused in one line that says what to do, however it keeps silent."""

import asyncio
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from authorities import OPENSSL, Authority
from command_line import refuse, snapshot

import denoscope as ds
from denoscope.cluster import scheduler

CHECK = "cluster check --model digits"
NOT_DASK = "does not answer as a Dask scheduler; name the address that dask scheduler printed, not that of its dashboard"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, in which a refused command must leave nothing."""
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 1.5)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert snapshot(tmp_path) == {}


@contextmanager
def silent():
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def closing_at_once():
    """Something that ends every connection."""
    with answering(b"") as port:
        yield port


@contextmanager
def with_banner():
    """Something that greets as an SSH server does; its first bytes, read as a length, are more than any memory holds."""
    with answering(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        yield port


@contextmanager
def answering(greeting):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    taken = server.accept()[0]
                except OSError:
                    return
                with taken:
                    taken.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Page(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def web_server():
    """A web server, such as the one of Dask's dashboard."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("listening", [silent, closing_at_once, with_banner, web_server])
def test_what_is_no_scheduler_is_refused(capsys, listening):
    with listening() as port:
        address = f"tcp://127.0.0.1:{port}"
        refuse(capsys, f"{CHECK} --cluster {address}", f"--cluster: {address} {NOT_DASK}")


@pytest.fixture
def one_worker():
    """A cluster of one worker, in this process."""
    from distributed import LocalCluster

    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with closing(
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", **local)
    ) as cluster:
        yield cluster


def test_a_worker_is_no_scheduler(capsys, one_worker):
    (worker,) = one_worker.scheduler.workers
    assert worker.startswith("tcp://")
    refuse(capsys, f"{CHECK} --cluster {worker}", f"{worker} {NOT_DASK} or of a worker")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_a_scheduler_that_asks_for_certificates_is_reached_by_tls_alone(capsys, tmp_path_factory):
    import dask
    from distributed import LocalCluster

    authority = Authority(tmp_path_factory.mktemp("authority"), "own")
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(authority.configuration),
        closing(LocalCluster(n_workers=0, protocol="tls://", **local)) as cluster,
    ):
        address = cluster.scheduler_address.replace("tls://", "tcp://")
        refuse(
            capsys,
            f"{CHECK} --cluster {address}",
            NOT_DASK,
            "begins with tls:// where certificates are needed",
        )


REMEDIES = ["that dask scheduler is running", "this is the address it printed", "no firewall blocks the port"]


def test_where_nothing_listens_the_reason_and_remedies_are_given(capsys):
    reason = "tcp://127.0.0.1:1 cannot be reached: Connection refused; check"
    refuse(capsys, f"{CHECK} --cluster tcp://127.0.0.1:1", reason, *REMEDIES)


def test_a_notebook_whose_loop_runs_is_told_the_same():
    async def cell():
        with pytest.raises(ds.UserError, match="cannot be reached"):
            scheduler.check_scheduler("tcp://127.0.0.1:9")

    asyncio.run(cell())


def test_a_host_that_has_no_address_is_named(capsys, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reason = "tcp://nowhere.invalid:8786 cannot be reached: Name or service not known; check"
    refuse(capsys, f"{CHECK} --cluster tcp://nowhere.invalid:8786", reason, *REMEDIES)
