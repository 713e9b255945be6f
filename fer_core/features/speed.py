"""Measure how fast this machine computes, in which precision, and how fast the store's disk is.

A trial runs frozen blocks in the precision that is found here, the storing rule weighs computing
against reading, and `--dry-run` predicts times. The figures are measured once and kept in the
store: the precision is part of the keys of all features, so a later timing with another result
would make every stored feature useless.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import FITTED, StreamConfig
from fer_core.storage.shared_store import AnyStore
from fer_core.storage.stages import Shard, Tally, read_or_make

FAST = 1.3  # bfloat16 is used where it is this many times as fast as single precision
_CODE = 2  # version of the measurement; raise it when something else is measured
_CHANNELS, _SIDE = 128, 56  # the convolution that is timed: channels, and side of its maps
_ROUNDS = 4  # timings of each precision; the fastest counts
_IMAGES = {"cpu": 4, "cuda": 256}  # images per timing; a GPU must work longer than a launch takes
_FILE_BYTES = 32 * 2**20  # size of the file that is written and read to time the disk


@dataclass(frozen=True, kw_only=True)
class MachineSpeed:
    """How fast this machine runs frozen backbones, and reads and writes the store."""

    precision: str  # "bfloat16" or "float32": the precision in which frozen backbones run
    flops: float  # operations per second of 3x3 convolutions in that precision
    single_flops: float  # the same in single precision
    read_bytes: float  # bytes read per second
    write_bytes: float  # bytes written per second, until they are safe on the disk

    def of(self, stream: StreamConfig) -> str:
        """Return the precision in which a stream's frozen blocks run.

        Volume networks and backbones that the study fits itself always run in single precision.
        """
        full = stream.is_volume or stream.backbone in FITTED
        return "float32" if full else self.precision

    def flops_of(self, stream: StreamConfig) -> float:
        """Return the operations per second at which a stream's frozen blocks run."""
        return self.flops if self.of(stream) == self.precision else self.single_flops


def machine(store: AnyStore, device: torch.device) -> MachineSpeed:
    """Return this machine's figures: those in the store, or else measured now and stored."""
    parts = {"code": _CODE, "device": _name(device), "torch": torch.__version__}

    def make() -> tuple[Array, dict[str, Any]]:
        return np.zeros(0), {"machine": asdict(_measured(store.root, device))}

    entry = read_or_make(store, [Shard("machine", parts, make, once=True)], Tally())[0]
    return MachineSpeed(**entry.meta["machine"])


def computing(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Run the block of a `with` statement in a precision, as far as its operations support it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _name(device: torch.device) -> str:
    """Name the device, so that machines of one kind share their figures."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    )
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "cpu")
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def _measured(root: Path, device: torch.device) -> MachineSpeed:
    seconds = _convolution_seconds(device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = seconds["float32"] >= FAST * seconds["bfloat16"]
    precision = "bfloat16" if fast else "float32"
    flops = 2 * 9 * _CHANNELS**2 * _SIDE**2 * _IMAGES[device.type]
    read_seconds, write_seconds = _disk_seconds(root)
    return MachineSpeed(
        precision=precision,
        flops=flops / seconds[precision],
        single_flops=flops / seconds["float32"],
        read_bytes=_FILE_BYTES / read_seconds,
        write_bytes=_FILE_BYTES / write_seconds,
    )


def _convolution_seconds(device: torch.device) -> dict[str, float]:
    """Time a 3x3 convolution in each precision, in turn; the fastest timing of each counts."""
    with torch.random.fork_rng(devices=[]):  # a trial in progress must draw the same numbers
        layer = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1).to(device)
    layer.to(memory_format=torch.channels_last)
    x = torch.ones(_IMAGES[device.type], _CHANNELS, _SIDE, _SIDE, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(_ROUNDS):
        for precision, seconds in best.items():
            best[precision] = min(seconds, _seconds(layer, x, precision))
    return best


def _seconds(layer: Callable[[Tensor], Tensor], x: Tensor, precision: str) -> float:
    typed = x.to(getattr(torch, precision))
    with torch.inference_mode(), computing(precision, x.device):
        started = time.perf_counter()
        float(layer(typed).flatten()[0])  # reading a number waits until a GPU is done
        return time.perf_counter() - started


def _disk_seconds(root: Path) -> tuple[float, float]:
    """Time reading and writing a file in the store.

    Where the system can be asked to forget a file that it holds in memory, the disk is read.
    """
    content = os.urandom(_FILE_BYTES)
    with tempfile.NamedTemporaryFile(dir=root) as file:
        started = time.perf_counter()
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter()
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        reading_from = time.perf_counter()
        Path(file.name).read_bytes()
        return time.perf_counter() - reading_from, written - started
