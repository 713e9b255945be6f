"""What makes two runs of a trial on one kind of machine equal to the last bit."""

import os

import torch

_WORKSPACE = ":4096:8"  # cuBLAS repeats itself with it; NVIDIA, cuBLAS, Results reproducibility


def settle(threads: int) -> None:
    """Fix the threads of a CPU, and take the repeatable ways of a GPU where there are any.

    Of some operations a GPU has none (the gradient of a max pool over volumes is one): these warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
