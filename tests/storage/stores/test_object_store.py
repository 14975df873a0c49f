"""What a store in a bucket does beyond the contract: retries, uploads, errors in words, and secrets that stay where they are."""

import os
import pickle
import sys
import traceback

import pytest
from s3_server import ENVIRONMENT

from denoscope.foundation.errors import UserError
from denoscope.storage.stores import object_store
from denoscope.storage.stores.object_store import ObjectStore

URL = "s3://bucket/run.zarr"
MIB = 2**20
SECRETS = (ENVIRONMENT["AWS_ACCESS_KEY_ID"], ENVIRONMENT["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture
def store(s3):  # noqa: ARG001
    return ObjectStore(URL)


def message_of(request) -> str:
    """The one line of the OSError that a request raises, after a look for secrets in all that Python would print."""
    with pytest.raises(OSError, match=r".") as caught:
        request()
    printed = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in printed] and "Authorization" not in printed
    assert "\n" not in str(caught.value)
    return caught.value.strerror


def test_a_key_of_the_store_is_a_key_of_the_bucket(store, s3):
    store.put("up%2F0/c/0", b"1")
    assert s3.contents() == {"run.zarr/up%2F0/c/0": b"1"}


@pytest.mark.parametrize("key", ["../a", "/etc/passwd", "a/../../b", ""])
def test_no_key_leads_out_of_the_prefix(store, key):
    for request in (
        store.delete,
        store.sink,
        lambda key: store.put(key, b""),
        lambda key: store.lock(key).__enter__(),
    ):
        with pytest.raises(ValueError, match="is not a key"):
            request(key)


def test_a_store_is_pickled_without_the_credentials(store):
    store.put("a", b"1")
    data = pickle.dumps(store)
    assert not [secret for secret in SECRETS if secret.encode() in data]
    assert pickle.loads(data).get("a") == b"1"
    assert repr(store) == f"ObjectStore('{URL}')" and str(store) == URL


def test_a_copy_in_another_process_keeps_trying_once_the_bucket_has_answered_here(store, s3, monkeypatch):
    store.put("a", b"1")
    data = pickle.dumps(store)
    monkeypatch.setattr(object_store, "_ANSWERED", set())  # as in another process
    copy = pickle.loads(data)
    s3.spoil(every=1)
    s3.requests()
    assert "the server answered 503" in message_of(lambda: copy.get("a"))
    assert len(s3.requests()) == 1 + object_store.RETRIES


def test_stores_of_a_url_share_their_clients_while_the_environment_is_the_same(s3, monkeypatch):
    import obstore.store

    made, make = [], obstore.store.from_url
    monkeypatch.setattr(
        "obstore.store.from_url", lambda *args, **options: made.append(args) or make(*args, **options)
    )
    ObjectStore(URL).put("a", b"1")
    assert ObjectStore(URL).get("a") == b"1" and made == [(URL,), (URL,)], (
        "one that gives up early, one that does not"
    )
    ObjectStore("s3://bucket/other.zarr").put("a", b"2")
    assert s3.contents() == {"run.zarr/a": b"1", "other.zarr/a": b"2"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert message_of(lambda: ObjectStore(URL).get("a")) == "no answer from 127.0.0.1:9"


def test_a_large_value_is_uploaded_in_parts_and_small_pieces_in_one_request(store, s3, monkeypatch):
    monkeypatch.setattr(object_store, "SINGLE_PUT", 6 * MIB)
    monkeypatch.setattr(object_store, "PART", 5 * MIB)
    for size, requests in ((6, ["PUT"]), (11, ["POST", "PUT", "PUT", "PUT", "POST"])):
        sink = store.sink("a")
        s3.requests()
        for _ in range(size):
            sink.append(bytes(MIB))
        assert not s3.requests(), "nothing is sent before it is whole"
        sink.finish()
        assert [request.split()[0] for request in s3.requests()] == requests
        assert s3.contents()["run.zarr/a"] == bytes(size * MIB)


def test_a_failed_upload_leaves_nothing_behind(store, s3, monkeypatch):
    monkeypatch.setattr(object_store, "SINGLE_PUT", 6 * MIB)
    monkeypatch.setattr(object_store, "PART", 5 * MIB)
    store.put("other", b"")
    s3.spoil(every=1, methods=("PUT",))
    sink = store.sink("a")
    sink.append(bytes(11 * MIB))
    assert "503" in message_of(sink.finish)
    sink.discard()
    s3.heal()
    assert s3.uploads() == 0 and list(s3.contents()) == ["run.zarr/other"]
    assert not list(store._folder.iterdir())


def test_unfinished_values_are_removed_with_the_store(store):
    sink = store.sink("a")
    sink.append(b"1")
    folder = store._folder
    assert list(folder.iterdir())
    store._cleanup()
    assert not folder.exists()


def test_a_busy_server_is_asked_again(store, s3):
    s3.spoil(every=2, unseen=True, methods=("PUT",))
    for number in range(4):
        store.put(f"a{number}", bytes([number]))
    assert [store.get(f"a{number}") for number in range(4)] == [bytes([number]) for number in range(4)]


def test_a_conditional_put_may_be_stored_unseen(store, s3):
    s3.spoil(every=2, unseen=True, methods=("PUT",))
    # The second put is answered with an error although it is stored, and its repetition finds it.
    answers = [store.put_if_absent(f"b{number}", b"1") for number in range(4)]
    assert False in answers and all(store.get(f"b{number}") == b"1" for number in range(4))


def test_the_first_request_to_a_bucket_is_given_up_early_and_later_ones_late(store, s3):
    s3.spoil(every=1)
    assert "the server answered 503" in message_of(lambda: store.get("a"))
    assert len(s3.requests()) == 1 + object_store.FIRST_RETRIES
    s3.heal()
    store.get("a")
    s3.spoil(every=1)
    s3.requests()
    assert "the server answered 503" in message_of(lambda: store.put("a", b""))
    assert len(s3.requests()) == 1 + object_store.RETRIES


REQUESTS = {
    "get": lambda store: store.get("a"),
    "range": lambda store: store.get("a", 1, 2),
    "exists": lambda store: store.get("a", 0, 0),
    "put": lambda store: store.put("a", b""),
    "put_if_absent": lambda store: store.put_if_absent("a", b""),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_errors_are_one_line_that_says_what_to_do(name, s3):
    request, store = REQUESTS[name], ObjectStore(URL)
    s3.spoil(every=1, status="403 Forbidden")
    assert message_of(lambda: request(store)) == "permission denied; may these credentials use s3://bucket?"
    s3.spoil(every=1, status="401 Unauthorized")
    assert "does not accept the credentials: set AWS_ACCESS_KEY_ID" in message_of(lambda: request(store))
    s3.heal()
    if name != "exists":  # a HEAD request has no body that says what is missing
        nowhere = ObjectStore("s3://nobucket/run.zarr")
        assert (
            message_of(lambda: request(nowhere)) == "there is no bucket 'nobucket' that these credentials see"
        )


@pytest.mark.usefixtures("s3")
def test_a_server_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert message_of(lambda: ObjectStore(URL).get("a")) == "no answer from 127.0.0.1:9"


def test_missing_credentials_are_named(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    assert message_of(lambda: ObjectStore(URL).get("a")).startswith(
        "no credentials: set AWS_ACCESS_KEY_ID and"
    )
    assert not s3.requests()


@pytest.mark.parametrize("account", [None, "ours"])
def test_missing_credentials_of_azure_are_named_without_a_request(monkeypatch, account):
    for name in [name for name in os.environ if name.startswith(("AZURE_", "MSI_", "IDENTITY_"))]:
        monkeypatch.delenv(name)
    if account:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", account)
    assert message_of(lambda: ObjectStore("az://box/run.zarr").get("a")) == (
        "no credentials: set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY in the environment"
    )


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(
        UserError,
        match=r'a URL needs obstore, which is not installed; install it: pip install "denoscope\[cluster\]"',
    ):
        ObjectStore(URL)


def test_a_full_folder_of_unfinished_values_is_named(store, monkeypatch):
    sink = store.sink("a")

    def fails(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", fails)
    assert "No space left on device in" in message_of(lambda: sink.append(b"1"))


def test_listings_of_several_pages_are_joined(store, s3):
    keys = {f"a/{number:03}" for number in range(120)}
    for key in keys:
        s3.put(f"run.zarr/{key}", b"")
    s3.requests()
    assert set(store.list("a/")) == keys and len(list(store.list("a/"))) == 120
    assert len(s3.requests()) == 6, "pages of 50 keys"
