"""A store that several machines share: a cache on each, in front of a mount or of S3.

What is shared is the truth; each machine keeps what it read or made in a folder of its own, bounded
in size. An entry that is quicker made than fetched, by this machine's own measure, is made again
and stays here. Who makes what all will read takes a lease of it, which counts on all machines.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fer_core.arrays import Array
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath, at_once
from fer_core.storage.store import Entry, Store

CACHE = "~/.cache/fer-search"  # on each machine
FREE_SHARE = 0.5  # of the disk that is free at first, which a cache may take
_FETCHED = "fetched-"
_FETCHERS = 8  # entries that are fetched at once
_KNOWN = 3  # fetches before their speed is believed
_IN_USE_SECONDS = 60.0  # an entry so fresh is not given up
_LEFT_SECONDS = 600.0  # a file that is written so long is no longer written
_FILLED = 0.9  # of its bound, to which a full cache is emptied
_SCANNED = 0.02  # of its bound, after which a cache is looked through again


class Leases(Protocol):
    """Makes sure that one machine at a time makes something."""

    def take(self, name: str) -> AbstractContextManager[bool]:
        """Try to become the only maker; free it at the end."""


@dataclass(frozen=True)
class SharedPlace:
    """A store that several machines use, as an experiment names it."""

    place: AnyPath
    cache: str = CACHE
    cache_bytes: int | None = None  # None: a share of what is free
    leases: Leases | None = None  # None: of this machine alone

    @property
    def folder(self) -> Path:
        """Where this machine's cache of this very place lies."""
        place = str(self.place).encode()
        return Path(self.cache).expanduser() / hashlib.sha256(place).hexdigest()[:8]

    def __str__(self) -> str:
        return str(self.place)


class CachedStore:
    """A `Store` in front of a place that others use too."""

    poll_seconds = 0.25  # a look asks another machine

    def __init__(self, shared: SharedPlace) -> None:
        self._shared = shared
        self.local = Store(shared.folder)
        self.root = self.local.root
        self._own: set[str] = set()  # keys that this machine makes again, for itself
        self._speed = _Speed()
        self._bound = shared.cache_bytes
        self._added = 0  # bytes, since the cache was looked through
        self._touched: set[str] = set()

    def get(self, stage: str, key: str, *, again: bool = False) -> Entry | None:
        """Open an entry, fetched if it is not here; None where it is to be made.

        With `again` that is also so where making it here is faster than fetching it.
        """
        entry = self.local.get(stage, key)
        if entry is None:
            return self._fetched(stage, key, again=again)
        if key not in self._touched:  # by its time the oldest is given up
            with suppress(OSError):
                os.utime(entry.path)
            self._touched.add(key)
        return self._refetched(entry, stage, key)

    def has(self, stage: str, key: str) -> bool:
        """Whether all have an entry; they are given one that this machine alone has.

        A maker may have been killed before it gave its entry to all, or that be deleted since.
        """
        if self._sidecar(stage, key) is not None and self._there(stage, key)[0].is_file():
            return True
        entry = self.local.get(stage, key)
        if entry is not None:
            self._give(entry, stage, key)
        return entry is not None

    def put(self, stage: str, key: str, array: Array, meta: Mapping[str, Any]) -> Entry:
        """Keep an entry here, and give it to all."""
        entry = self.local.put(stage, key, array, meta)
        if key not in self._own:
            self._give(entry, stage, key)
        self._grown(array.nbytes)
        return self._refetched(entry, stage, key)

    @contextmanager
    def lease(self, stage: str, key: str, covers: Sequence[str] = ()) -> Iterator[bool]:
        """Try to become the only maker of an entry, on all machines."""
        leases = self._shared.leases
        with self.local.lease(stage, key, covers) as leased:
            if not leased or leases is None or self._own & {key, *covers}:
                yield leased
                return
            with leases.take(f"{self._shared.place}/{stage}/{key}") as mine:
                yield mine

    def prefetch(self, wanted: Sequence[tuple[str, str, bool]]) -> None:
        """Fetch entries (stage, key, again) that are not here, some at a time."""
        missing = [each for each in wanted if self.local.get(*each[:2]) is None]
        at_once(lambda each: self._fetched(*each[:2], again=each[2]), missing, threads=_FETCHERS)

    def _fetched(self, stage: str, key: str, *, again: bool) -> Entry | None:
        known = self._sidecar(stage, key)
        if known is None:
            return None
        sidecar = json.loads(known)
        size = _size(sidecar)
        if again and self._speed.seconds(size) > _seconds(sidecar):
            self._own.add(key)
            return None
        began = time.perf_counter()
        try:
            content = self._there(stage, key)[0].read_bytes()
        except FileNotFoundError:
            return None
        self._speed.add(size, time.perf_counter() - began)
        path = self.local.path(stage, key)
        write_atomically(path, content, mark=_FETCHED)  # without a lease
        write_atomically(path.with_suffix(".json"), known, mark=_FETCHED)
        self._grown(size)
        self.local.distrust(stage, key)
        entry = self.local.get(stage, key)  # None where what came is not what was put there
        return entry and self._refetched(entry, stage, key)

    def _give(self, entry: Entry, stage: str, key: str) -> None:
        array, sidecar = self._there(stage, key)
        write_atomically(array, entry.path.read_bytes())
        write_atomically(sidecar, entry.path.with_suffix(".json").read_bytes())

    def _refetched(self, entry: Entry, stage: str, key: str) -> Entry:
        return replace(entry, fetch=partial(self._fetched, stage, key, again=False))

    def _sidecar(self, stage: str, key: str) -> bytes | None:
        """Read an entry's sidecar where all have it; None where there is none, or it is damaged."""
        try:
            content = self._there(stage, key)[1].read_bytes()
            sidecar = json.loads(content)
            _size(sidecar)
            _seconds(sidecar)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return content

    def _there(self, stage: str, key: str) -> tuple[AnyPath, AnyPath]:
        folder = self._shared.place / stage
        return folder / f"{key}.npy", folder / f"{key}.json"

    def _grown(self, size: int) -> None:
        """Give up the oldest entries where the cache has outgrown its bound."""
        if self._bound is None:
            self._bound = int(FREE_SHARE * shutil.disk_usage(self.root).free)
        self._added += size
        if self._added < _SCANNED * self._bound:
            return
        self._added = 0
        evict(self.root, self._bound)


def evict(root: Path, bound: int) -> None:
    """Delete a cache's oldest entries until it is well below its bound, in bytes."""
    found = []
    for left in root.glob("*/.*.tmp"):  # by processes that were killed
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                left.unlink()
    for path in root.glob("*/*.npy"):
        with suppress(FileNotFoundError):  # another process is at it too
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= bound:
        return
    newest = time.time() - _IN_USE_SECONDS
    for used, size, path in sorted(found):
        if total <= _FILLED * bound or used > newest:
            return
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        total -= size


AnyStore = Store | CachedStore


def folder(store: Path | SharedPlace) -> Path:
    """Say where this machine keeps what it reads."""
    return store.folder if isinstance(store, SharedPlace) else store


def free_bytes(store: Path | SharedPlace) -> int:
    """Say how much room there is where a store keeps what it reads, or will."""
    below = folder(store).absolute()
    free = shutil.disk_usage(next(path for path in (below, *below.parents) if path.exists())).free
    if not isinstance(store, SharedPlace):
        return free
    return int(FREE_SHARE * free) if store.cache_bytes is None else min(free, store.cache_bytes)


def open_store(store: Path | SharedPlace) -> AnyStore:
    """Open a store of this machine's own, or one that it shares."""
    return CachedStore(store) if isinstance(store, SharedPlace) else Store(store)


class _Speed:
    """How long fetches take here: a delay, and bytes a second."""

    def __init__(self) -> None:
        self._fetches: list[tuple[int, float]] = []

    def add(self, size: int, seconds: float) -> None:
        self._fetches = [*self._fetches[-49:], (size, seconds)]  # the link's load changes

    def seconds(self, size: int) -> float:
        """Predict a fetch; 0 while too few are known."""
        if len(self._fetches) < _KNOWN:
            return 0.0
        delay = min(seconds for _, seconds in self._fetches)
        over = sum(seconds - delay for _, seconds in self._fetches)
        return delay + size * over / max(1, sum(size for size, _ in self._fetches))


def _seconds(sidecar: Mapping[str, Any]) -> float:
    """Say how long making an entry took; endless where that was not written down."""
    return float(sidecar["meta"].get("seconds", np.inf))


def _size(sidecar: Mapping[str, Any]) -> int:
    return int(np.dtype(sidecar["dtype"]).itemsize * np.prod(sidecar["shape"], dtype=np.int64))
