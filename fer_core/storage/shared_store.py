"""A store that several machines share: a folder on a mount or in S3, with a cache on each machine.

Each machine keeps the entries that it has downloaded or computed in its own cache, whose size is
bounded. When a machine has measured that computing an entry again is faster than downloading it, it
computes it again and keeps the result to itself. Leases that count on all machines make sure that
only one of them computes a missing entry. `open_store` opens this store or a plain `Store`; both
have the same methods, so that trials need not know which one they use.
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
from fer_core.storage.paths import AnyPath
from fer_core.storage.s3_requests import at_once
from fer_core.storage.store import Entry, Store, refuse_newer

CACHE = "~/.cache/fer-search"  # default folder of the cache on each machine
FREE_SHARE = 0.5  # share of the free disk space that a cache without a given size may take
_FETCHED = "fetched-"  # mark of temporary files of downloads, which need no lease
_FETCHERS = 8  # simultaneous downloads
_KNOWN = 3  # downloads after which the measured speed is used
_IN_USE_SECONDS = 60.0  # an entry that was used within this time is never evicted
_LEFT_SECONDS = 600.0  # age at which a temporary file counts as left by a killed process
_FILLED = 0.9  # share of its bound down to which a full cache is emptied
_SCANNED = 0.02  # share of its bound that is added to a cache before it is scanned again


class Leases(Protocol):
    """Makes sure that at most one machine at a time computes something."""

    def take(self, name: str) -> AbstractContextManager[bool]:
        """Try to take the lease of that name; it is freed when the context ends."""


@dataclass(frozen=True)
class SharedPlace:
    """Where a shared store lies, and how much of it a machine may cache."""

    place: AnyPath
    cache: str = CACHE  # folder on each machine; several stores may use the same one
    cache_bytes: int | None = None  # most bytes in the cache; None: a share of the free disk space
    leases: Leases | None = None  # None: leases count on this machine only

    @property
    def folder(self) -> Path:
        """The folder of this machine's cache of this store."""
        place = str(self.place).encode()
        return Path(self.cache).expanduser() / hashlib.sha256(place).hexdigest()[:8]

    def __str__(self) -> str:
        return str(self.place)


class CachedStore:
    """A shared store as one machine sees it: the same methods as `Store`, in front of a cache."""

    poll_seconds = 0.25  # longer than that of `Store`, since each look asks another machine

    def __init__(self, shared: SharedPlace) -> None:
        self._shared = shared
        self.local = Store(shared.folder)  # the cache
        self.root = self.local.root
        self._own: set[str] = set()  # keys that this machine computes again for itself
        self._speed = _DownloadSpeed()
        self._bound = shared.cache_bytes
        self._added = 0  # bytes added since the cache was last scanned
        self._touched: set[str] = set()  # keys whose time of use this process has updated

    def get(self, stage: str, key: str, *, can_remake: bool = False) -> Entry | None:
        """Open an entry, after downloading it if it is not in the cache; None if it is absent.

        With `can_remake`, None also means that computing it here is faster than downloading it.

        Raises: FerError if a newer version of this project wrote the entry.
        """
        entry = self.local.get(stage, key)
        if entry is None:
            return self._download(stage, key, can_remake=can_remake)
        if key not in self._touched:  # `evict` deletes by the time of a file
            with suppress(OSError):
                os.utime(entry.path)
            self._touched.add(key)
        return self._with_download(entry, stage, key)

    def has(self, stage: str, key: str) -> bool:
        """Return whether the shared store has an entry, after uploading it if only the cache has.

        That happens if the process that computed it was killed before the upload, or if somebody
        deleted it from the shared store.
        """
        if self._sidecar(stage, key) is not None and self._places(stage, key)[0].is_file():
            return True
        entry = self.local.get(stage, key)
        if entry is not None:
            self._upload(entry, stage, key)
        return entry is not None

    def put(self, stage: str, key: str, array: Array, meta: Mapping[str, Any]) -> Entry:
        """Write an entry to the cache, and to the shared store unless it is there already."""
        entry = self.local.put(stage, key, array, meta)
        if key not in self._own:
            self._upload(entry, stage, key)
        self._count_added(array.nbytes)
        return self._with_download(entry, stage, key)

    @contextmanager
    def lease(self, stage: str, key: str, covers: Sequence[str] = ()) -> Iterator[bool]:
        """Try to become the only process on all machines that computes an entry.

        An entry that this machine computes for itself needs no lease of the other machines.
        """
        leases = self._shared.leases
        with self.local.lease(stage, key, covers) as leased:
            if not leased or leases is None or self._own & {key, *covers}:
                yield leased
                return
            with leases.take(f"{self._shared.place}/{stage}/{key}") as leased_everywhere:
                yield leased_everywhere

    def prefetch(self, wanted: Sequence[tuple[str, str, bool]]) -> None:
        """Download several entries at once that are not in the cache: (stage, key, can_remake)."""
        missing = [each for each in wanted if self.local.get(*each[:2]) is None]
        at_once(
            lambda each: self._download(*each[:2], can_remake=each[2]), missing, threads=_FETCHERS
        )

    def _download(self, stage: str, key: str, *, can_remake: bool) -> Entry | None:
        """Copy an entry to the cache; None if it is absent, damaged, or faster to compute again."""
        content = self._sidecar(stage, key)
        if content is None:
            return None
        sidecar = json.loads(content)
        size = _size(sidecar)
        if can_remake and self._speed.seconds(size) > _seconds(sidecar):
            self._own.add(key)
            return None
        began = time.perf_counter()
        try:
            array = self._places(stage, key)[0].read_bytes()
        except FileNotFoundError:
            return None
        self._speed.add(size, time.perf_counter() - began)
        path = self.local.path(stage, key)
        write_atomically(path, array, mark=_FETCHED)
        write_atomically(path.with_suffix(".json"), content, mark=_FETCHED)
        self._count_added(size)
        self.local.distrust(stage, key)
        entry = self.local.get(stage, key)  # None if it was damaged in the store or on its way
        return entry and self._with_download(entry, stage, key)

    def _upload(self, entry: Entry, stage: str, key: str) -> None:
        array, sidecar = self._places(stage, key)
        write_atomically(array, entry.path.read_bytes())
        write_atomically(sidecar, entry.path.with_suffix(".json").read_bytes())

    def _with_download(self, entry: Entry, stage: str, key: str) -> Entry:
        """Let an entry download itself again if it is evicted before its array is opened."""
        return replace(entry, fetch=partial(self._download, stage, key, can_remake=False))

    def _sidecar(self, stage: str, key: str) -> bytes | None:
        """Read an entry's sidecar in the shared store; None if it is absent or damaged.

        Raises: FerError if a newer version of this project wrote it.
        """
        path = self._places(stage, key)[1]
        try:
            content = path.read_bytes()
            sidecar = json.loads(content)
            refuse_newer(path, sidecar)
            _size(sidecar)
            _seconds(sidecar)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return content

    def _places(self, stage: str, key: str) -> tuple[AnyPath, AnyPath]:
        """Return where an entry's array and its sidecar lie in the shared store."""
        folder = self._shared.place / stage
        return folder / f"{key}.npy", folder / f"{key}.json"

    def _count_added(self, size: int) -> None:
        """Count bytes that were added to the cache, and evict old entries from a full one."""
        if self._bound is None:
            self._bound = int(FREE_SHARE * shutil.disk_usage(self.root).free)
        self._added += size
        if self._added < _SCANNED * self._bound:
            return
        self._added = 0
        evict(self.root, self._bound)


def evict(root: Path, bound: int) -> None:
    """Keep a cache within its bound in bytes, by deleting the entries unused for longest.

    Files that killed processes left half-written are deleted as well.
    """
    for temporary in root.glob("*/.*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - temporary.stat().st_mtime > _LEFT_SECONDS:
                temporary.unlink()
    found = []
    for path in root.glob("*/*.npy"):
        with suppress(FileNotFoundError):  # another process may be evicting too
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
    """Return the folder on this machine that holds a store's entries, or its cache of them."""
    return store.folder if isinstance(store, SharedPlace) else store


def free_bytes(store: Path | SharedPlace) -> int:
    """Return how many bytes a store, or this machine's cache of it, may still take."""
    path = folder(store).absolute()  # may not exist yet
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if not isinstance(store, SharedPlace):
        return free
    return int(FREE_SHARE * free) if store.cache_bytes is None else min(free, store.cache_bytes)


def open_store(store: Path | SharedPlace) -> AnyStore:
    """Open a store on this machine (given by its folder), or one that several machines share."""
    return CachedStore(store) if isinstance(store, SharedPlace) else Store(store)


class _DownloadSpeed:
    """Predicts how long a download takes on this machine, from those that it has seen.

    The model is a delay, the same for every download, and a number of bytes a second.
    """

    def __init__(self) -> None:
        self._downloads: list[tuple[int, float]] = []  # bytes, seconds

    def add(self, size: int, seconds: float) -> None:
        """Note a download; only the last fifty count, since the load of a network changes."""
        self._downloads = [*self._downloads[-49:], (size, seconds)]

    def seconds(self, size: int) -> float:
        """Predict the seconds of a download of that size; 0 while too few downloads are known."""
        if len(self._downloads) < _KNOWN:
            return 0.0
        delay = min(seconds for _, seconds in self._downloads)
        over = sum(seconds - delay for _, seconds in self._downloads)
        return delay + size * over / max(1, sum(size for size, _ in self._downloads))


def _seconds(sidecar: Mapping[str, Any]) -> float:
    """Return how long it took to compute an entry; infinite if that was not written down."""
    return float(sidecar["meta"].get("seconds", np.inf))


def _size(sidecar: Mapping[str, Any]) -> int:
    """Return how many bytes an entry's array has."""
    return int(np.dtype(sidecar["dtype"]).itemsize * np.prod(sidecar["shape"], dtype=np.int64))
