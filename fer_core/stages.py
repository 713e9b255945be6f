"""Make what is missing in the store, once, however many workers want it.

A stage is made in shards. Whoever needs it takes the lease of a shard that nobody is making, so
workers that wait for the same stage share its work instead of standing by.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from fer_core.processes import spread
from fer_core.store import Array, Entry, Store, key_of

_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a trial had to compute, and what it found in the store."""

    frames_decoded: int = 0
    faces_searched: int = 0
    backbone_images: int = 0
    stages_made: int = 0  # shards
    stages_read: int = 0  # shards
    stage_seconds: float = 0.0


class Tally:
    """Counts work as it is done."""

    def __init__(self) -> None:
        self.work = Work()

    def add(self, **counts: float) -> None:
        now = asdict(self.work)
        self.work = Work(**{name: value + counts.get(name, 0) for name, value in now.items()})


@dataclass(frozen=True)
class Shard:
    """A part of a stage: what its result depends on, and how to make it."""

    stage: str
    parts: Mapping[str, Any]
    make: Callable[[], tuple[Array, dict[str, Any]]]

    @property
    def key(self) -> str:
        return key_of({"stage": self.stage, **self.parts})


def gather(store: Store, shards: Sequence[Shard], tally: Tally) -> list[Entry]:
    """Give every shard's entry, in order, making those that are missing."""
    started = time.perf_counter()
    keys = [shard.key for shard in shards]
    found: dict[int, Entry] = {}
    while len(found) < len(shards):
        before = len(found)
        for i, (shard, key) in enumerate(zip(shards, keys, strict=True)):
            if i not in found and (entry := _get_or_make(store, shard, key, tally)) is not None:
                found[i] = entry
        if len(found) == before:  # other workers are at all that is left
            time.sleep(_POLL_SECONDS)
    tally.add(stage_seconds=time.perf_counter() - started)
    return [found[i] for i in range(len(shards))]


def make(store: Store, shards: Sequence[Shard], workers: int) -> Iterator[tuple[int, int]]:
    """Make missing shards in several processes; yield how many of how many missing are made."""
    missing = [shard for shard in shards if store.get(shard.stage, shard.key) is None]
    for done in spread(partial(_ensure, store), missing, workers):
        yield done, len(missing)


def _ensure(store: Store, shard: Shard) -> None:
    gather(store, [shard], Tally())


def _get_or_make(store: Store, shard: Shard, key: str, tally: Tally) -> Entry | None:
    entry = store.get(shard.stage, key)
    if entry is not None:
        tally.add(stages_read=1)
        return entry
    with store.lease(shard.stage, key) as leased:
        if not leased:
            return None
        entry = store.get(shard.stage, key)  # made while we asked for the lease
        if entry is None:
            array, meta = shard.make()
            entry = store.put(shard.stage, key, array, meta)
            tally.add(stages_made=1)
        else:
            tally.add(stages_read=1)
    return entry
