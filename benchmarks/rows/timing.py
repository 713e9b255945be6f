"""Time ours and theirs in turns, so that what else the machine does meets both."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def turns(*calls: Callable[[], object], repeats: int) -> list[float]:
    """Give the least CPU seconds of each call, their repeats interleaved."""
    taken = [[cpu_seconds(call) for call in calls] for _ in range(repeats)]
    return [min(column) for column in zip(*taken, strict=True)]


def cpu_seconds(call: Callable[[], object]) -> float:
    """Time a call by what this process computes, whoever else wants the cores."""
    started = time.process_time()
    call()
    return time.process_time() - started


def wall_seconds(call: Callable[[], object]) -> float:
    """Time a call by the clock, since other processes take part in it."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute as a worker does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
