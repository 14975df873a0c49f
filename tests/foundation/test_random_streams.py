"""Random streams against the rule that the documentation states."""

import hashlib

import pytest
import torch

from denoscope.foundation import random_streams


@pytest.mark.parametrize(
    ("purpose", "seed", "index"), [("random", 42, 0), ("step noise", 0, 999), ("base", 7, 3)]
)
def test_a_stream_seed_is_the_hash_of_purpose_and_seed_plus_the_index(purpose, seed, index):
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=4).hexdigest()
    assert random_streams.stream_seed(purpose, seed, index) == (int(digest, 16) + index) % 2**32


def test_draws_of_one_purpose_and_seed_never_share_a_stream():
    streams = {random_streams.stream_seed("random", 42, index) for index in range(100_000)}
    assert len(streams) == 100_000 and 0 <= min(streams) <= max(streams) < 2**32


def test_neighbouring_seeds_and_other_purposes_have_no_draw_in_common():
    ranges = [
        {random_streams.stream_seed(purpose, seed, index) for index in range(1000)}
        for purpose in ("random", "base", "step noise")
        for seed in (0, 1, 42, 43)
    ]
    assert len(set().union(*ranges)) == sum(map(len, ranges))


def test_a_generator_repeats_its_draw_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    one, two = (torch.randn(5, generator=random_streams.generator("random", 1, 2)) for _ in range(2))
    plain = torch.Generator().manual_seed(random_streams.stream_seed("random", 1, 2))
    assert torch.equal(one, two) and torch.equal(one, torch.randn(5, generator=plain))
    assert torch.equal(torch.get_rng_state(), before)
