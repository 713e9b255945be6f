"""The most memory that was in use since a moment: of the GPU, or else of this process."""

import resource
from contextlib import suppress
from pathlib import Path

import torch

_CLEAR_PEAK = "5"  # Linux, proc(5), /proc/pid/clear_refs: reset the peak of the resident set


def reset_peak(device: torch.device) -> None:
    """Begin to measure; where the system cannot, `peak_gib` counts from the process's start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)


def peak_gib(device: torch.device) -> float:
    """Give the peak in GiB: of what torch holds on a GPU, or of the resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20  # said in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def total_bytes() -> int:
    """Say how much memory there is: of the GPU, or of this machine or container."""
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
