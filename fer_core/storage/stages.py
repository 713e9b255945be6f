"""Make what is missing in the store, once, however many workers want it.

A stage is made in shards. Whoever needs it takes the lease of a shard that nobody is making, so
workers that wait for the same stage share its work instead of standing by.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from fer_core.arrays import Array
from fer_core.storage.processes import spread
from fer_core.storage.shared_store import AnyStore
from fer_core.storage.store import Entry, key_of


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a trial had to compute, and what it found in the store."""

    frames_decoded: int = 0
    faces_searched: int = 0
    backbone_images: int = 0
    stages_made: int = 0  # shards
    stages_read: int = 0  # shards
    stages_held: int = 0  # shards that this process had in memory
    stage_seconds: float = 0.0
    seconds_saved: float = 0.0  # that making what was read or held would have taken


class Tally:
    """Counts work as it is done."""

    def __init__(self) -> None:
        self.work = Work()
        self.shards = 0  # that were asked for, and the seconds that making them takes
        self.seconds = 0.0

    def add(self, **counts: float) -> None:
        now = asdict(self.work)
        self.work = Work(**{name: value + counts.get(name, 0) for name, value in now.items()})

    def see(self, *, shards: int, seconds: float) -> None:
        """Count shards that were asked for, however they were had."""
        self.shards += shards
        self.seconds += seconds


Made = tuple[Array, dict[str, Any]]


@dataclass(frozen=True)
class SharedWork:
    """Work that makes several shards of a stage at once, under one lease."""

    key: str  # of the lease
    keys: tuple[str, ...]  # of the shards
    make: Callable[[Collection[str]], Mapping[str, Made]]  # those of these keys


@dataclass(frozen=True)
class Shard:
    """A part of a stage: what its result depends on, and how to make it."""

    stage: str
    parts: Mapping[str, Any]
    make: Callable[[], Made] | SharedWork
    once: bool = False  # made again it would differ, or not all machines could make it

    @cached_property
    def key(self) -> str:
        return key_of({"stage": self.stage, **self.parts})


def read_or_make(store: AnyStore, shards: Sequence[Shard], tally: Tally) -> list[Entry]:
    """Give every shard's entry, in order, making those that are missing."""
    started = time.perf_counter()
    store.prefetch([(shard.stage, shard.key, not shard.once) for shard in shards])
    found = {i: e for i, shard in enumerate(shards) if (e := _read(store, shard, tally))}
    while len(found) < len(shards):
        before = len(found)
        for i, shard in enumerate(shards):
            if i not in found and (entry := _get_or_make(store, shard, tally)) is not None:
                found[i] = entry
        if len(found) == before:  # other workers are at all that is left
            time.sleep(store.poll_seconds)
    tally.add(stage_seconds=time.perf_counter() - started)
    return [found[i] for i in range(len(shards))]


def make(store: AnyStore, shards: Sequence[Shard], workers: int) -> Iterator[tuple[int, int]]:
    """Make missing shards in several processes; yield how many of how many missing are made."""
    missing = [shard for shard in shards if not store.has(shard.stage, shard.key)]
    for done in spread(partial(_ensure, store), missing, workers):
        yield done, len(missing)


def _ensure(store: AnyStore, shard: Shard) -> None:
    read_or_make(store, [shard], Tally())


def _get_or_make(store: AnyStore, shard: Shard, tally: Tally) -> Entry | None:
    """Make a shard, or read it where it was made meanwhile; None while another makes it."""
    work, key = shard.make, shard.key
    lease, covers = (work.key, work.keys) if isinstance(work, SharedWork) else (key, ())
    with store.lease(shard.stage, lease, covers) as leased:
        if not leased:
            return None
        return _read(store, shard, tally) or _made(store, shard, tally)


def _read(store: AnyStore, shard: Shard, tally: Tally) -> Entry | None:
    entry = store.get(shard.stage, shard.key, again=not shard.once)
    if entry is not None:
        tally.add(stages_read=1, seconds_saved=entry.seconds)
        tally.see(shards=1, seconds=entry.seconds)
    return entry


def _made(store: AnyStore, shard: Shard, tally: Tally) -> Entry:
    """Make a shard, and what its pass gives besides and the store has not."""
    stage, key, work = shard.stage, shard.key, shard.make
    if isinstance(work, SharedWork):
        others = [other for other in work.keys if other != key and not store.has(stage, other)]
        made = work.make({key, *others})
    else:
        started = time.perf_counter()
        array, meta = work()
        made = {key: (array, {"seconds": time.perf_counter() - started} | meta)}
    entries = {key: store.put(stage, key, array, meta) for key, (array, meta) in made.items()}
    tally.add(stages_made=len(entries))
    tally.see(shards=1, seconds=entries[key].seconds)
    return entries[key]
