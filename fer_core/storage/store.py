"""Keep the results of stages as files in one folder, addressed by what they depend on.

An entry is an array, `<stage>/<key>.npy`, which is read by memory map, and a sidecar of the same
name with the suffix .json, which is written last. If the sidecar is absent, or a hash in it
differs, the entry does not exist and is computed again: a half-written or damaged file is never
trusted.
Several processes use one store at the same time; `shared_store` adds several machines.
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
from fer_core.storage.formats import check_format
from fer_core.storage.paths import AnyPath

FORMAT = 2  # of the sidecar. 1: as 2, but without the field "format".
_HEADER_BYTES = 128  # of an .npy file; an array without items cannot be mapped


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash everything that can change a stage's result to its key; `parts` must be JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """What the store has under a key: a read-only array, and what its maker wrote about it."""

    path: Path  # of the array
    meta: dict[str, Any]
    # Downloads the entry again if it was deleted from a machine's cache; None gives up.
    fetch: Callable[[], object] | None = field(default=None, compare=False)

    @property
    def array(self) -> Array:
        """The array, mapped anew each time, since thousands of entries would keep files open.

        Raises: FerError if it was deleted and the shared store no longer has it undamaged.
        """
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
        """How long it took to compute this entry alone; 0 if that was not written down."""
        return float(self.meta.get("seconds", 0.0))


class Store:
    """A folder of stage results that several processes read and write at once."""

    poll_seconds = 0.05  # how often to look whether another process has finished an entry

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trusted: set[Path] = set()  # arrays whose hash this process has checked

    def get(self, stage: str, key: str, *, can_remake: bool = False) -> Entry | None:
        """Open an entry, or return None if it is absent, half-written or damaged.

        `can_remake` matters to `CachedStore` only.

        Raises: FerError if a newer version of this project wrote the entry.
        """
        path = self.path(stage, key)
        sidecar_path = path.with_suffix(".json")
        try:
            sidecar = json.loads(sidecar_path.read_text())
            refuse_newer(sidecar_path, sidecar)
            meta = sidecar["meta"]
            if sidecar["meta_sha256"] != _meta_sha256(meta):
                return None
            if path not in self._trusted and files.file_sha256(path) != sidecar["sha256"]:
                return None
            _open(path)
        except (OSError, ValueError, KeyError, TypeError):  # absent, unreadable, or not a sidecar
            return None
        self._trusted.add(path)
        return Entry(path, meta)

    def has(self, stage: str, key: str) -> bool:
        """Return whether there is an entry that `get` would open."""
        return self.get(stage, key) is not None

    def distrust(self, stage: str, key: str) -> None:
        """Check an entry's hash again when it is opened next, because its file was replaced."""
        self._trusted.discard(self.path(stage, key))

    def prefetch(self, wanted: Sequence[tuple[str, str, bool]]) -> None:
        """Do nothing: all entries of this store are on this machine."""

    def put(self, stage: str, key: str, array: Array, meta: Mapping[str, Any]) -> Entry:
        """Write an entry; a process killed at any moment leaves the old entry or the new one.

        `meta` is JSON that the entry's readers need.

        Raises: OSError if the disk is full.
        """
        path = self.path(stage, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._trusted.discard(path)
        digest = files.write_aside(path, lambda file: np.save(file, array, allow_pickle=False))
        sidecar = {
            "format": FORMAT,
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
        """Try to become the only process that computes an entry; yield whether that succeeded.

        The system frees the lease when its process dies. A process that computes several entries
        at once holds one lease, `key`, that `covers` their keys.
        """
        path = self.path(stage, key).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                for covered in covers or (key,):
                    for temporary in path.parent.glob(f".{covered}.*.tmp"):
                        temporary.unlink(missing_ok=True)  # its writer was killed
                yield True

    def path(self, stage: str, key: str) -> Path:
        """Return where an entry's array is stored; its sidecar has the suffix .json."""
        return self.root / stage / f"{key}.npy"


def refuse_newer(path: AnyPath, sidecar: Any) -> None:
    """Refuse a sidecar that a newer version of this project wrote; `path` is where it lies.

    Without this, a reader would take a format that it does not know for damage, and compute the
    entry again in place of the newer one.

    Raises:
        FerError: the format is newer.
        ValueError: the sidecar is damaged, so that it has no format.
    """
    found = sidecar.get("format", 1) if isinstance(sidecar, dict) else None
    if type(found) is not int or found < 1:
        raise ValueError(f"{path} is no sidecar")
    check_format(f"store entry {path}", found, FORMAT)


def _open(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r" if path.stat().st_size > _HEADER_BYTES else None)
    return array


def _meta_sha256(meta: Any) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
