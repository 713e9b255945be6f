"""What this machine can do and how it computes: cores, memory, its peak use, repeatable results.

Whatever starts several processes or threads asks here how many cores it may use. Trials measure
their memory here, the memory cache and the feasibility check ask how much there is, and workers
switch to deterministic algorithms before they train. torch is imported inside the functions only,
because `--help` and the processes without torch must start quickly.
"""

import gc
import math
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CLEAR_PEAK = "5"  # resets the peak of the resident set; Linux, proc(5), /proc/pid/clear_refs
# How many cores Slurm gives a task, or a job on this node. The first that is set counts. Slurm,
# srun and sbatch, "OUTPUT ENVIRONMENT VARIABLES".
_SLURM_CORES = "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"
_SLURM_MEGABYTES = "SLURM_MEM_PER_NODE"  # as above
_WORKSPACE = ":4096:8"  # makes cuBLAS repeatable; NVIDIA, cuBLAS, "Results reproducibility"

_gpu_share = 1.0  # of the GPU's memory; `keep_to_gpu_share` sets it


def allowed_cores(
    environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc/self")
) -> int:
    """Return how many CPU cores this process may use; at least 1.

    A batch system or a container often allows fewer than the machine has: by the affinity of the
    process (taskset, Slurm), by a quota of CPU time (Docker, Kubernetes, systemd), or only by
    Slurm's variables. The smallest of these limits counts; a quota of 1.5 cores allows 2 processes.
    """
    limits = [float(os.cpu_count() or 1)]
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        limits.append(len(os.sched_getaffinity(0)))
    slurm = next((environment[name] for name in _SLURM_CORES if environment.get(name)), "")
    if slurm.isdecimal() and int(slurm):
        limits.append(int(slurm))
    with suppress(OSError, ValueError):  # not Linux
        for group in _control_groups(proc, "cpu"):
            limits += _quota(group)
    return max(1, math.ceil(min(limits)))


def keep_to_allowed_cores() -> None:
    """Let torch compute with at most as many threads as there are allowed cores."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), allowed_cores()))


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


def free_device_memory() -> None:
    """Give the GPU the memory back that torch keeps for later tensors; a CPU needs no such call."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()  # a cycle of Python objects may hold tensors
        torch.cuda.empty_cache()


def total_bytes() -> int:
    """Return how much memory models have: that of a whole GPU, or else of this machine."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return host_bytes()


def host_bytes(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc/self")) -> int:
    """Return how much of the machine's memory (RAM) this process may use.

    A container or a batch system often allows less than the machine has: the smallest limit counts.
    """
    limits = [_bytes_of("/proc/meminfo", "MemTotal:")]
    slurm = environment.get(_SLURM_MEGABYTES, "")
    if slurm.isdecimal() and int(slurm):
        limits.append(int(slurm) * 2**20)
    with suppress(OSError, ValueError):  # not Linux
        for group in _control_groups(proc, "memory"):
            limits += _numbers(group / "memory.max")  # version 2; "max" stands for no limit
            limits += _numbers(group / "memory.limit_in_bytes")  # version 1
    return min(limits)


def device_bytes() -> int:
    """Return how much of a GPU's memory this process may use; 0 without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.mem_get_info()[1] * _gpu_share)


def keep_to_gpu_share(share: float) -> None:
    """Let torch allocate at most this share of the GPU, since others use the rest of it.

    What is short then fails in the process that asked for too much.
    """
    import torch

    global _gpu_share
    _gpu_share = min(1.0, share)
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(_gpu_share)


def make_deterministic(threads: int) -> None:
    """Make the computations of this process repeatable, on a CPU and on a GPU.

    The number of threads is fixed, because it changes the order of sums. On a GPU, a few operations
    have no deterministic version (the gradient of a max pool over volumes is one): these warn.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    # Convolutions and recurrent cells in TF32, products in full: torch's defaults, which a later
    # version may change.
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _control_groups(proc: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of all control groups whose limits hold for a process.

    `proc` is the folder of the process in /proc. A process is in a control group, and the limits of
    all groups above that one hold as well. Linux, cgroups(7), and its documentation of cgroup-v1
    and cgroup-v2.
    """
    groups = {}  # by the kind of file system that shows the group
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            groups["cgroup" if controllers else "cgroup2"] = group
    for line in (proc / "mountinfo").read_text().splitlines():
        mount, _, described = line.partition(" - ")
        kind, _, options = described.split(" ")[:3]
        if kind not in groups or (kind == "cgroup" and controller not in options.split(",")):
            continue
        _, _, _, root, mount_point, *_ = mount.split(" ")
        # In a container the mount often shows its own group only, whose path is then `root`.
        below = os.path.relpath(groups[kind], root)
        place = Path(mount_point.replace("\\040", " "))
        own = place if below.startswith("..") else place / below
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(place))


def _quota(group: Path) -> Iterator[float]:
    """Yield the quota of one control group in cores, if it has one."""
    with suppress(OSError, ValueError):  # version 2; "max" stands for no quota
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError):  # version 1; -1 stands for no quota
        quota = (group / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:
            yield int(quota) / int((group / "cpu.cfs_period_us").read_text())


def _numbers(file: Path) -> Iterator[int]:
    """Yield the whole number that a file holds, if it holds one."""
    with suppress(OSError, ValueError):
        yield int(file.read_text())


def _bytes_of(file: str, name: str) -> int:
    """Read a value that a file of /proc gives in KiB, and return it in bytes; 0 if absent."""
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 2**10
    return 0
