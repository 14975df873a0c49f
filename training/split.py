"""A part of a data set."""

from __future__ import annotations

import torch

Split = tuple[torch.Tensor, torch.Tensor]
"""Images [n, C, H, W] and their labels [n]."""
