"""State dicts of classifiers, read from files and loaded into their networks."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives
from denoscope.foundation.reading.regular_files import open_regular, why_no_file

Network = TypeVar("Network", bound=nn.Module)


def load_into(network: Network, path: Path) -> Network:
    """The network in eval mode, float32 and frozen, with the weights of a .safetensors or .pt state dict.

    Raises: UserError naming the file if it cannot be read or does not fit the network.
    """
    kind = type(network).__name__
    state = _read(path, kind)
    needed = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, shape in needed.items():
        stored = tuple(state[name].shape) if name in state else "missing"
        if stored != shape:
            raise UserError(
                f"{path} is not a state dict of {kind}: {name} is {stored}; allowed: {shape}; "
                "`python -m training` trains one"
            )
    if surplus := sorted(set(state) - set(needed)):
        raise UserError(
            f"{path} is not a state dict of {kind}: it also holds {', '.join(surplus[:3])}; leave that out"
        )
    network.load_state_dict(state)
    return network.float().eval().requires_grad_(False)


def _read(path: Path, kind: str) -> dict[str, torch.Tensor]:
    if problem := why_no_file(path):
        raise UserError(
            f"cannot read classifier weights {path}: {problem}; allowed: a .safetensors or .pt state dict of {kind}"
        )
    try:
        with open_regular(path) as file:
            archives.check_unpacked(file, path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a damaged file can make the readers fail in any way
        raise UserError(
            f"cannot read classifier weights {path}: not weights, damaged, or in need of code (which is never run); "
            f"allowed: a .safetensors or .pt state dict of {kind}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(
            f"{path} does not hold a state dict; write one with torch.save(model.state_dict(), path)"
        )
    return state
