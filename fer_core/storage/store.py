"""Content-addressed arrays on disk: written aside, synced, renamed, checked, made by one maker.

An entry is `<stage>/<key>.npy`, read by memory map, and a JSON sidecar of the same name that is
written last: without it, or where size or hash differ, the entry is not there and is made again.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.errors import FerError
from fer_core.storage import files

_HEADER_BYTES = 128  # of an .npy file; an array without items cannot be mapped


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash everything that can change a stage's result; `parts` must be JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """What the store holds under a key: a read-only array, and what its maker said of it."""

    path: Path
    meta: dict[str, Any]
    fetch: Callable[[], object] | None = field(default=None, compare=False)  # where it was evicted

    @property
    def array(self) -> Array:
        """Map the array anew: thousands of entries must not keep as many files open."""
        try:
            return _open(self.path)
        except FileNotFoundError:
            if self.fetch is None:
                raise
            if self.fetch() is None:
                raise FerError(f"{self.path.name} is gone from the store, or damaged.") from None
            return _open(self.path)

    @property
    def seconds(self) -> float:
        """Say how long making it alone takes; 0 where that was not written down."""
        return float(self.meta.get("seconds", 0.0))


class Store:
    """A folder of stage outputs that several processes read and write at once."""

    poll_seconds = 0.05  # after which who waits for a maker looks again

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trusted: set[Path] = set()  # hashed once in this process

    def get(self, stage: str, key: str, *, again: bool = False) -> Entry | None:
        """Open an entry, or give None where it is absent, half-written or corrupt.

        `again`, whether it may be made again, matters to a store that fetches.
        """
        path = self.path(stage, key)
        try:
            sidecar = json.loads(path.with_suffix(".json").read_text())
            meta = sidecar["meta"]
            if sidecar["meta_sha256"] != _meta_sha256(meta):
                return None
            if path not in self._trusted and files.file_sha256(path) != sidecar["sha256"]:
                return None
            _open(path)
        except (OSError, ValueError, KeyError, TypeError):  # absent, unreadable, or no such JSON
            return None
        self._trusted.add(path)
        return Entry(path, meta)

    def has(self, stage: str, key: str) -> bool:
        """Whether there is an entry."""
        return self.get(stage, key) is not None

    def distrust(self, stage: str, key: str) -> None:
        """Check an entry when it is opened next: its file was replaced."""
        self._trusted.discard(self.path(stage, key))

    def prefetch(self, wanted: Sequence[tuple[str, str, bool]]) -> None:
        """Do nothing: all that there is is here."""

    def put(self, stage: str, key: str, array: Array, meta: Mapping[str, Any]) -> Entry:
        """Write an entry so that a kill at any moment leaves the old state or the new."""
        path = self.path(stage, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._trusted.discard(path)
        digest = files.write_aside(path, lambda file: np.save(file, array, allow_pickle=False))
        sidecar = {
            "key": key,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": digest,
            "meta": dict(meta),
            "meta_sha256": _meta_sha256(dict(meta)),
        }
        text = json.dumps(sidecar).encode()
        files.write_aside(path.with_suffix(".json"), lambda file: file.write(text))
        self._trusted.add(path)
        return Entry(path, dict(meta))

    @contextmanager
    def lease(self, stage: str, key: str, covers: Sequence[str] = ()) -> Iterator[bool]:
        """Try to become the only maker of an entry; the system frees it when a maker dies.

        Who makes several entries at once holds one lease that covers their keys.
        """
        path = self.path(stage, key).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                for made in covers or (key,):
                    for left in path.parent.glob(f".{made}.*.tmp"):  # by a maker that was killed
                        left.unlink(missing_ok=True)
                yield True

    def path(self, stage: str, key: str) -> Path:
        """Say where an entry's array lies; its sidecar has the suffix .json."""
        return self.root / stage / f"{key}.npy"


def _open(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r" if path.stat().st_size > _HEADER_BYTES else None)
    return array


def _meta_sha256(meta: Any) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
