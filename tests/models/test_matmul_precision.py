"""CUDA's matmul precision: the settings belong to PyTorch and can be read without a device."""

import subprocess
import sys
import textwrap

import pytest
import torch

from denoscope.models import matmul_precision

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def found() -> dict[str, object]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "deterministic": (torch.are_deterministic_algorithms_enabled(), cudnn.deterministic),
        "benchmark": cudnn.benchmark,
        "precision": {place.fp32_precision for place in (matmul, cudnn.conv, cudnn.rnn)},
    }


@pytest.mark.parametrize(("tf32", "precision"), [(False, "ieee"), (True, "tf32")])
def test_computation_is_deterministic_inside_and_tf32_follows_the_option(tf32, precision):
    before = found()
    with matmul_precision.exact(CUDA, tf32=tf32):
        assert found() == {"deterministic": (True, True), "benchmark": False, "precision": {precision}}
    assert found() == before


def test_a_cpu_needs_no_precision_settings():
    before = found()
    with matmul_precision.exact(CPU):
        assert found() == before


@pytest.mark.slow
def test_settings_made_in_either_of_pytorchs_ways_are_restored():
    program = """
        import torch
        from denoscope.models import matmul_precision

        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

        def same_after(*read):
            before = [one() for one in read]
            with matmul_precision.exact(torch.device("cuda")):
                pass
            assert before == [one() for one in read], before

        matmul.allow_tf32, cudnn.allow_tf32 = True, False
        same_after(lambda: matmul.allow_tf32, lambda: cudnn.allow_tf32)
        torch.set_float32_matmul_precision("high")
        same_after(torch.get_float32_matmul_precision, lambda: matmul.allow_tf32)
        torch.use_deterministic_algorithms(True, warn_only=True)
        same_after(torch.is_deterministic_algorithms_warn_only_enabled)
        matmul.fp32_precision, cudnn.conv.fp32_precision = "tf32", "ieee"
        same_after(lambda: matmul.fp32_precision, lambda: cudnn.conv.fp32_precision)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
