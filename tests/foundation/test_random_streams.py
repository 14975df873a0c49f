"""Random streams against NumPy's Mersenne Twister, the normal distribution, and hashes computed by hand."""

import hashlib
import itertools
import json

import numpy as np
import pytest
import torch
from scipy import stats

from denoscope.foundation import random_streams
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import stream


@pytest.mark.parametrize(
    ("purpose", "seed", "index"), [("random", 42, 0), ("plane base", 420, 7), ("perturbation", 0, 123456)]
)
def test_a_stream_seed_is_the_hash_of_purpose_and_seed_plus_the_index(purpose, seed, index):
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=4).hexdigest()
    assert random_streams.stream_seed(purpose, seed, index) == (int(digest, 16) + index) % 2**32


def test_draws_of_one_purpose_and_seed_have_different_seeds():
    assert len({random_streams.stream_seed("random", 42, index) for index in range(100_000)}) == 100_000


def test_purposes_and_seeds_have_no_draws_in_common():
    ranges = [
        {random_streams.stream_seed(purpose, seed, index) for index in range(1000)}
        for purpose in ("random", "plane base", "plane direction", "perturbation")
        for seed in range(10)
    ]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(ranges, 2))


def test_a_generator_repeats_what_its_seed_draws():
    one, two = (torch.randn(5, generator=random_streams.generator("random", 1, 2)) for _ in range(2))
    plain = torch.Generator().manual_seed(random_streams.stream_seed("random", 1, 2))
    assert torch.equal(one, two) and torch.equal(one, torch.randn(5, generator=plain))


def words(purpose, seed, index, name=""):
    """The documented state of a stream: SHAKE-256 of the key, without its first 8 bytes, with the highest bit set."""
    key = json.dumps(["denoscope streams 2", purpose, seed, name, index]).encode()
    found = np.frombuffer(hashlib.shake_256(key).digest(8 + 4 * 624)[8:], "<u4").copy()
    found[0] |= 0x80000000
    return found


@pytest.mark.parametrize(
    "key", [("step noise", 42, 0), ("step noise", 42, 7, "sample_0003"), ("a", 2**70, 1, "ü")]
)
def test_a_stream_is_numpys_mersenne_twister_of_the_hashed_state(key):
    purpose, seed, index, *name = key
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words(*key), "pos": 624}}
    drawn = torch.rand(2000, generator=stream(purpose, seed, index, name=name[0] if name else ""))
    # PyTorch makes a float32 in [0, 1) from the low 24 bits of a word.
    assert np.array_equal(drawn.double().numpy() * 2**24, twister.random_raw(2000) & 0xFFFFFF)


def test_normal_numbers_of_many_streams_are_standard_normal_and_independent():
    rows = torch.stack(
        [torch.randn(784, generator=stream("step noise", 0, step, name=f"s{k}")) for k in range(100) for step in range(4)]
    ).double().numpy()  # fmt: skip
    assert stats.kstest(rows.ravel(), "norm").pvalue > 0.001
    assert stats.kstest(rows[:, 0], "norm").pvalue > 0.001, "the first numbers of streams"
    assert stats.kstest(rows.mean(1) * 28, "norm").pvalue > 0.001
    assert stats.kstest(rows.var(1, ddof=1) * 783, stats.chi2(783).cdf).pvalue > 0.001
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert stats.kstest(correlations * np.sqrt(784), "norm").pvalue > 0.001
    assert abs(correlations).max() < 6 / 28, "of 79,800 pairs the largest is expected near 4.4 / 28"


def test_streams_share_no_numbers_even_shifted():
    """Streams that overlap, also shifted, would have a window of 4 words in common."""
    windows = set()
    for step in range(50):
        for name in ("", "sample_0000", "sample_0001", "sample_0002"):
            drawn = torch.empty(2 * 784, dtype=torch.int32)
            drawn.random_(generator=stream("step noise", 42, step, name=name))
            windows |= set(zip(*(drawn[k : len(drawn) - 3 + k].tolist() for k in range(4)), strict=True))
    assert len(windows) == 200 * (2 * 784 - 3)


def test_every_part_of_the_key_gives_another_state():
    keys = [
        ("a", 0, 0, ""), ("b", 0, 0, ""), ("a", 1, 0, ""), ("a", 0, 1, ""), ("a", 0, 0, "b"), ("ab", 0, 0, ""),
        ("a", 0, 0, "0"), ("a", 10, 0, ""), ("a", 0, 10, ""), ('a", 0, "', 0, 0, ""),
    ]  # fmt: skip
    states = {
        tuple(stream(purpose, seed, index, name=name).get_state().tolist())
        for purpose, seed, index, name in keys
    }
    assert len(states) == len(keys)


def test_a_stream_has_a_seed_of_its_own_for_code_that_takes_one():
    seeds = {stream("step noise", 42, 0, name=f"sample_{k}").initial_seed() for k in range(1000)}
    assert len(seeds) == 1000 and max(seeds) > 2**40


@pytest.mark.parametrize(
    ("purpose", "name", "legacy"),
    [
        ("step noise", "", "step noise"),
        ("step noise", "a", "step noise of a"),
        ("noise at conv_in, call 0", "", "noise at conv_in, call 0"),
        ("noise at conv_in, call 0", "a", "noise at conv_in, call 0, of a"),
    ],
)
def test_version_1_is_the_seeded_generator(purpose, name, legacy):
    one, other = stream(purpose, 3, 4, name=name, version=1), random_streams.generator(legacy, 3, 4)
    assert torch.equal(one.get_state(), other.get_state())


def test_an_unknown_version_is_an_error():
    with pytest.raises(UserError, match="streams is 3; allowed: 1 or 2"):
        stream("step noise", 0, 0, version=3)


def test_a_stream_is_the_same_within_a_derivative():
    streams = []

    def step(x):
        streams.append(stream("step noise", 42, 0))
        return x.sum()

    torch.func.grad(step)(torch.ones(1))
    assert torch.equal(streams[0].get_state(), stream("step noise", 42, 0).get_state())
