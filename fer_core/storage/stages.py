"""Read stages from the store, and compute those that are missing, once for all workers.

A stage is computed in shards (parts of about equal size), each under its own key. A worker that
needs a stage takes the lease of any shard that nobody else is computing, so workers that wait for
the same stage share its work. The rooms `faces` and `features` describe their stages as `Shard`s;
a trial reads them by `read_or_make`, and `make` computes them ahead of a study.
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
    """What one trial had to compute, and what it could read instead."""

    frames_decoded: int = 0
    faces_searched: int = 0
    backbone_images: int = 0  # images that went through a backbone
    stages_made: int = 0  # shards that this trial computed
    stages_read: int = 0  # shards that it read from the store
    stages_held: int = 0  # shards that were still in this process's memory
    stage_seconds: float = 0.0  # time spent on computing, reading and waiting for shards
    seconds_saved: float = 0.0  # time that computing the shards from store and memory would take


class Tally:
    """Counts a trial's work while it is done."""

    def __init__(self) -> None:
        self.work = Work()
        self.shards = 0  # shards that were asked for, whether computed, read or in memory
        self.seconds = 0.0  # time that computing all of these shards takes

    def add(self, **counts: float) -> None:
        """Add counts to the fields of `Work` that have these names."""
        now = asdict(self.work)
        self.work = Work(**{name: value + counts.get(name, 0) for name, value in now.items()})

    def see(self, *, shards: int, seconds: float) -> None:
        """Count shards that were asked for, and the seconds that computing them takes."""
        self.shards += shards
        self.seconds += seconds


Made = tuple[Array, dict[str, Any]]
"""What computing a shard gives: its array, and what its readers need to know about it (JSON)."""


@dataclass(frozen=True)
class SharedWork:
    """A computation that gives several shards of a stage at once, under one lease.

    For example, one pass through a backbone gives the features at several depths.
    """

    key: str  # name of the lease
    keys: tuple[str, ...]  # keys of all shards that the computation can give
    make: Callable[[Collection[str]], Mapping[str, Made]]  # computes the shards with these keys


@dataclass(frozen=True)
class Shard:
    """One part of a stage: everything that its result depends on, and how to compute it."""

    stage: str
    parts: Mapping[str, Any]  # what the result depends on, as JSON; it is hashed to the key
    make: Callable[[], Made] | SharedWork
    # Whether it must be computed by one machine only, because another would get another result or
    # could not compute it. Other shards are recomputed where that is faster than downloading them.
    once: bool = False

    @cached_property
    def key(self) -> str:
        return key_of({"stage": self.stage, **self.parts})


def read_or_make(store: AnyStore, shards: Sequence[Shard], tally: Tally) -> list[Entry]:
    """Return the entries of all shards, in order, after computing those that are missing.

    If only shards are left that other workers are computing, it waits for them.
    """
    started = time.perf_counter()
    store.prefetch([(shard.stage, shard.key, not shard.once) for shard in shards])
    found = {i: entry for i, shard in enumerate(shards) if (entry := _read(store, shard, tally))}
    while len(found) < len(shards):
        before = len(found)
        for i, shard in enumerate(shards):
            if i not in found and (entry := _read_or_lease(store, shard, tally)) is not None:
                found[i] = entry
        if len(found) == before:  # other workers are computing all that is left
            time.sleep(store.poll_seconds)
    tally.add(stage_seconds=time.perf_counter() - started)
    return [found[i] for i in range(len(shards))]


def make(store: AnyStore, shards: Sequence[Shard], workers: int) -> Iterator[tuple[int, int]]:
    """Compute the missing shards in several processes; yield (computed so far, all missing)."""
    missing = [shard for shard in shards if not store.has(shard.stage, shard.key)]
    for done in spread(partial(_ensure, store), missing, workers):
        yield done, len(missing)


def _ensure(store: AnyStore, shard: Shard) -> None:
    read_or_make(store, [shard], Tally())


def _read_or_lease(store: AnyStore, shard: Shard, tally: Tally) -> Entry | None:
    """Compute a shard, or read it if it was computed meanwhile; None while another computes it."""
    work, key = shard.make, shard.key
    lease, covers = (work.key, work.keys) if isinstance(work, SharedWork) else (key, ())
    with store.lease(shard.stage, lease, covers) as leased:
        if not leased:
            return None
        return _read(store, shard, tally) or _compute(store, shard, tally)


def _read(store: AnyStore, shard: Shard, tally: Tally) -> Entry | None:
    entry = store.get(shard.stage, shard.key, can_remake=not shard.once)
    if entry is not None:
        tally.add(stages_read=1, seconds_saved=entry.seconds)
        tally.see(shards=1, seconds=entry.seconds)
    return entry


def _compute(store: AnyStore, shard: Shard, tally: Tally) -> Entry:
    """Compute and store a shard; shared work also gives its other shards that are missing."""
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
