"""Claims in a store without locks: who gets one, who may take it over, and what a process does that lost its own."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from denoscope.storage.stores import claim_object, this_machine
from denoscope.storage.stores.capabilities import flush
from denoscope.storage.stores.claim_object import SIGNED_EVERY, STALE_AFTER, Claim
from denoscope.storage.stores.object_store import ObjectStore

KEY = "run.zarr/complete/lock"


@pytest.fixture
def store(s3):  # noqa: ARG001
    return ObjectStore("s3://bucket/run.zarr")


@pytest.fixture
def later(monkeypatch):
    """Set the clock forward by a number of seconds."""
    begun = claim_object.now()
    return lambda seconds: monkeypatch.setattr(
        claim_object, "now", lambda: begun + timedelta(seconds=seconds)
    )


def claim_of(**changed: object) -> bytes:
    """The claim of another process."""
    return json.dumps(
        {"host": "other", "pid": 1, "signed": "2026-01-01", "machine": "x", "token": "y", **changed}
    ).encode()


def ended_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_a_claim_names_its_owner_and_is_removed(store, s3):
    with store.lock("complete/lock") as held:
        assert held and list(s3.contents()) == [KEY]
        content = json.loads(s3.contents()[KEY])
        assert content["pid"] == os.getpid() and content["signed"] in store.holder("complete/lock")
        assert f"process {os.getpid()} on {content['host']}" in store.holder("complete/lock")
    assert not s3.contents() and store.holder("complete/lock") == ""


@pytest.mark.parametrize("data", [b"", b"[]", b"not JSON", pytest.param(b"[" * 100_000, id="deep")])
def test_a_lock_file_that_was_copied_to_the_bucket_is_no_claim(store, s3, data):
    s3.put(KEY, data)
    with store.lock("complete/lock") as held:
        assert held
    assert not s3.contents()


@pytest.mark.parametrize(
    "data", [claim_of(), claim_of(pid="x"), claim_of(machine=this_machine.identity(), pid=10**30)]
)
def test_the_claim_of_another_machine_holds_until_it_is_stale(store, s3, later, data):
    s3.put(KEY, data)
    later(STALE_AFTER - 5)
    with store.lock("complete/lock") as held:
        assert not held
    assert s3.contents()[KEY] == data
    later(STALE_AFTER + 5)
    with store.lock("complete/lock") as held:
        assert held
    assert not s3.contents()


def test_the_claim_of_an_ended_process_of_this_machine_is_taken_over_at_once(store, s3):
    here = this_machine.identity()
    s3.put(KEY, claim_of(machine=here, pid=os.getppid()))
    with store.lock("complete/lock") as held:
        assert not held, "the process runs"
    s3.put(KEY, claim_of(machine=here, pid=ended_process()))
    with store.lock("complete/lock") as held:
        assert held


def test_of_two_that_take_over_one_succeeds(store, s3, later):
    s3.put(KEY, claim_of())
    later(STALE_AFTER + 5)
    first, second = Claim(store, "complete/lock"), Claim(store, "complete/lock")
    found = store.version("complete/lock")
    assert first._replace(found) and not second._replace(found)


@pytest.mark.usefixtures("s3")
def test_a_signature_keeps_the_claim(store, later):
    claim = Claim(store, "complete/lock")
    assert claim.take()
    before = store.version("complete/lock")
    later(60)
    claim.sign()
    after = store.version("complete/lock")
    assert after.tag != before.tag and json.loads(after.data)["signed"] > json.loads(before.data)["signed"]
    claim.check()


def test_after_a_suspend_a_claim_is_signed_before_anything_is_written(store, later):
    """Neither its thread nor this test signs the first claim: time alone has passed."""
    second = Claim(store, "complete/lock")
    with pytest.raises(OSError, match="another process has taken over"), store.lock("complete/lock"):
        later(STALE_AFTER - 5)
        flush(store)
        assert not second.take(), "the flush has signed the first claim"
        later(2 * STALE_AFTER + 5)
        assert second.take()
        flush(store)
    assert second._is_ours(store.version("complete/lock"))


def test_no_signature_is_asked_for_while_the_last_one_is_recent(store, s3, later):
    with store.lock("complete/lock"):
        s3.requests()
        later(SIGNED_EVERY + 5)
        flush(store)
        assert not s3.requests()
        s3.spoil(every=1)
        later(STALE_AFTER)
        with pytest.raises(OSError, match="503"):
            flush(store)
        s3.heal()
        flush(store)


@pytest.mark.parametrize("now", [None, claim_of()])
def test_a_lost_claim_stops_its_writer_and_is_left_to_the_other(store, s3, now):
    with pytest.raises(OSError, match="another process has taken over"), store.lock("complete/lock") as held:
        assert held
        flush(store)
        s3.delete(KEY) if now is None else s3.put(KEY, now)
        (claim,) = store._claims
        claim.sign()
        flush(store)
    assert s3.contents() == ({} if now is None else {KEY: now})
    flush(store)


def test_a_claim_is_signed_while_its_block_runs(store, monkeypatch):
    import threading

    monkeypatch.setattr(claim_object, "SIGNED_EVERY", 0.001)
    signed, sign = threading.Event(), Claim.sign

    def noted(claim):
        sign(claim)
        signed.set()

    monkeypatch.setattr(Claim, "sign", noted)
    with store.lock("complete/lock"):
        assert signed.wait(60)
        flush(store)


def test_a_claim_whose_answers_are_lost_is_still_ours(store, s3):
    store.get("a")
    s3.spoil(every=2, unseen=True, methods=("PUT",))
    for _ in range(3):
        with store.lock("complete/lock") as held:
            assert held
            (claim,) = store._claims
            claim.sign()
            claim.check()
    assert not s3.contents()


def test_a_claim_that_no_server_confirms_is_an_error(store, s3):
    store.get("a")
    s3.spoil(every=1, unseen=True, methods=("PUT",))
    with pytest.raises(OSError, match="503"):
        store.lock("complete/lock").__enter__()
