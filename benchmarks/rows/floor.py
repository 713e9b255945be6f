"""Row 5: our search, against the floor: the least time that this machine needs for the same work.

The floor is one pass of the data through the frozen network and the matrix products of all heads,
at the machine's rate for matrix products, and the bytes that the optimiser moves, at the rate of
its memory. One process per worker of ours measures these rates at the same time, with one thread
each. Seconds are those of a worker.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.rows.engine import EndedStudy
from benchmarks.rows.result import Ratio
from benchmarks.rows.stills import CORES
from benchmarks.rows.timing import wall_seconds
from fer_core.config import StreamConfig, from_json
from fer_core.models.profile import profile

PRODUCT, COPIED, REPEATS = 1536, 2**25, 8  # side of the matrices; how many numbers are copied
FEATURES, CLASSES, NUMBER_BYTES = 512, 6, 4
ADAM_MOVES = 7  # Adam reads weight, gradient and two moments; it writes all but the gradient
TARGET = 1.35


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The rates that one process reached."""

    single: float  # FLOP/s
    half: float  # FLOP/s in bfloat16
    memory: float  # bytes/s, read and written

    @property
    def product(self) -> float:
        return max(self.single, self.half)


def compared(
    ours: EndedStudy,
    extraction_seconds: float,
    stream: StreamConfig,
    *,
    images: int,
    train_rows: int,
) -> list[Ratio]:
    """Divide our workers' seconds by the floor."""
    rates = measured(CORES)
    flops = images * pass_flops(stream)
    heads = [head_cost(json_, train_rows) for json_ in _configs(ours)]
    parts = {
        "pass": flops / rates.product,
        "heads": sum(cost["flops"] for cost in heads) / rates.single,
        "optimiser": sum(cost["bytes"] for cost in heads) / rates.memory,
    }
    least = sum(parts.values())
    training = sum(result.train_seconds for result in ours.parts)
    took = extraction_seconds + training
    of = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
    return [
        Ratio(
            name="over the floor",
            value=took / least,
            target=TARGET,
            at_most=True,
            came_from=f"ours {took:.1f} s (extraction {extraction_seconds:.1f}, training "
            f"{training:.1f}), floor {least:.1f} s of workers ({of})",
            notes=(
                f"rates of a worker with {CORES} at once: fp32 {rates.single / 1e9:.0f}, bf16 "
                f"{rates.half / 1e9:.0f} GFLOP/s, memory {rates.memory / 1e9:.1f} GB/s; a pass "
                f"{flops / images / 1e9:.2f} GFLOP an image",
                f"the whole search by the clock, with the workers' start: {ours.seconds:.1f} s",
            ),
        )
    ]


def measured(processes: int) -> Rates:
    """Measure in several processes at once, and return their mean rates."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_rates, range(processes)))
    mean = {
        name: sum(getattr(rates, name) for rates in found) / processes
        for name in ("single", "half", "memory")
    }
    return Rates(**mean)


def pass_flops(stream: StreamConfig) -> int:
    """Count the FLOPs of the frozen network for one image."""
    return profile(stream, 1).flops()


def head_cost(config_json: str, rows: int) -> Mapping[str, float]:
    """Count the FLOPs of training a head, and the bytes that its optimiser moves."""
    config = from_json(config_json)
    head, optimizer = config.head, config.optimizer
    dims = [FEATURES, *[head.fc_width] * head.fc_layers, CLASSES]
    products = [2 * before * after for before, after in pairwise(dims)]
    # Forward, the gradients of the weights, and those of the inputs except the first layer's.
    row = 3 * sum(products) - products[0]
    steps = optimizer.epochs_for(rows) * optimizer.batches(rows)
    parameters = sum((before + 1) * after for before, after in pairwise(dims))
    return {
        "flops": row * rows * optimizer.epochs,
        "bytes": ADAM_MOVES * NUMBER_BYTES * parameters * steps,
    }


def _configs(ours: EndedStudy) -> Iterator[str]:
    for result in ours.parts:
        assert result.config_json is not None
        yield result.config_json


def _rates(_: Any) -> Rates:
    """Measure the rates of one thread: the best of several times."""
    torch.set_num_threads(1)
    x = torch.randn(PRODUCT, PRODUCT)
    half, source = x.bfloat16(), torch.randn(COPIED)
    target = torch.empty_like(source)

    def best(call: Any) -> float:
        return min(wall_seconds(call) for _ in range(REPEATS))

    flops = 2 * PRODUCT**3
    return Rates(
        single=flops / best(lambda: x @ x),
        half=flops / best(lambda: half @ half),
        memory=2 * NUMBER_BYTES * COPIED / best(lambda: target.copy_(source)),
    )
