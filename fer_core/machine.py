"""What this machine can do and how it computes: memory, its peak use, and repeatable results.

Trials measure their memory here, the memory cache and the feasibility check ask how much there is,
and workers switch to deterministic algorithms before they train. torch is imported inside the
functions only, because `--help` and the processes without torch must start quickly.
"""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CLEAR_PEAK = "5"  # resets the peak of the resident set; Linux, proc(5), /proc/pid/clear_refs
_WORKSPACE = ":4096:8"  # makes cuBLAS repeatable; NVIDIA, cuBLAS, "Results reproducibility"


def reset_peak(device: "torch.device") -> None:
    """Start a measurement of `peak_gib`.

    On a system without /proc/self/clear_refs, the peak counts from the start of the process.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)


def peak_gib(device: "torch.device") -> float:
    """Return the peak memory since `reset_peak`, in GiB.

    On a GPU it is the memory that torch had allocated, on a CPU the process's resident set.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20  # the file counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def total_bytes() -> int:
    """Return how much memory there is: that of the GPU, or of this machine or its container."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    limits = [_bytes_of("/proc/meminfo", "MemTotal:")]
    with suppress(OSError, ValueError):  # a container's own limit, if it has one
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


def make_deterministic(threads: int) -> None:
    """Make the computations of this process repeatable, on a CPU and on a GPU.

    The number of threads is fixed, because it changes the order of sums. On a GPU, a few operations
    have no deterministic version (the gradient of a max pool over volumes is one): these warn.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _bytes_of(file: str, name: str) -> int:
    """Read a value that a file of /proc gives in KiB, and return it in bytes; 0 if absent."""
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 2**10
    return 0
