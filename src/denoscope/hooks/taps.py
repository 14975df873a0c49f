"""Taps: a network whose states can be read in each of its calls, eager or compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from denoscope.hooks.compiled import CompiledNetwork, channels_last
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.tapped_network import Call, Network, TappedNetwork


@contextmanager
def tapped(
    network: nn.Module,
    call: Call,
    layers: Sequence[Layer] = (),
    *,
    fast: bool = False,
    attached: bool = False,
) -> Iterator[Network]:
    """The network as a function of (x, timestep, inputs) to its output and the states of `layers`.

    >>> with tapped(denoiser.network, denoiser.call, denoiser.chosen_layers(["mid_block"])) as run:
    ...     output, states = run(x, timestep, {})

    It is a `TappedNetwork` or, with `fast`, a `CompiledNetwork`: compiled as one graph, its weights laid out with their
    channels last while the block runs.

    Args:
        call: called with (network, x, timestep, inputs).
        attached: leave the states in the autograd graph, which keeps alive what they were computed from.
    """
    plain = TappedNetwork(network, call, layers, attached=attached)
    if not fast:
        yield plain
        return
    with channels_last(network):
        yield CompiledNetwork(plain)
