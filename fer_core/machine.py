"""This machine: how much memory is used and there, and how computing on it is made repeatable."""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch  # takes seconds to import, which --help and processes without it save

_CLEAR_PEAK = "5"  # Linux, proc(5), /proc/pid/clear_refs: reset the peak of the resident set


def reset_peak(device: "torch.device") -> None:
    """Begin to measure; where the system cannot, `peak_gib` counts from the process's start."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)


def peak_gib(device: "torch.device") -> float:
    """Give the peak in GiB: of what torch holds on a GPU, or of the resident set."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20  # said in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def total_bytes() -> int:
    """Say how much memory there is: of the GPU, or of this machine or container."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    total = [_kib("/proc/meminfo", "MemTotal:")]
    with suppress(OSError, ValueError):  # a container's own limit, where it has one
        total.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(total)


def _kib(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 2**10
    return 0


_WORKSPACE = ":4096:8"  # cuBLAS repeats itself with it; NVIDIA, cuBLAS, Results reproducibility


def make_deterministic(threads: int) -> None:
    """Fix the threads of a CPU, and take the repeatable ways of a GPU where there are any.

    Of some operations a GPU has none (the gradient of a max pool over volumes is one): these warn.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
