"""Paths to files in a folder or in S3, with the same methods for both.

A place that the user names is read by `parse`: it becomes a `pathlib.Path` (on this machine or on a
mount) or an `S3Path`. Both have the methods of `pathlib.Path` that this project needs, so that the
store, study folders, boards and checkpoints work in either place without asking which it is.
"""

import fnmatch
import os
import posixpath
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fer_core.errors import FerError
from fer_core.storage.s3_requests import SCHEME, filesystem, patiently, unusable

Result = TypeVar("Result")

_LONGEST_NAME = 100  # of a plain name; what is made of it must stay below 255 bytes
_PLAIN = re.compile(r"[A-Za-z0-9._=/-]+")  # the characters that an address in S3 may have here


@dataclass(frozen=True, order=True)
class S3Path:
    """An object in S3, or a folder of objects: `s3://bucket/key`.

    Its methods do what those of `pathlib.Path` with the same name do. If S3 does not answer, they
    wait for it and then go on (see `s3_requests`); `reach` and `check` do not wait.
    """

    bucket: str
    key: PurePosixPath
    options: str = ""  # `?endpoint_override=..` and the like, in the words of pyarrow

    def __str__(self) -> str:
        return f"{SCHEME}{self._address}{self.options}"

    def __truediv__(self, name: str) -> "S3Path":
        return S3Path(self.bucket, self.key / name, self.options)

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def stem(self) -> str:
        return self.key.stem

    @property
    def parents(self) -> tuple["S3Path", ...]:
        return tuple(S3Path(self.bucket, above, self.options) for above in self.key.parents)

    @property
    def parent(self) -> "S3Path":
        return S3Path(self.bucket, self.key.parent, self.options)

    def absolute(self) -> "S3Path":
        """Return the path itself: paths in S3 are always absolute."""
        return self

    def read_bytes(self) -> bytes:
        """Read the whole object, in one version, even if it is replaced meanwhile.

        A version that lay there before may not come back while it is read.

        Raises: FileNotFoundError if there is no such object.
        """

        def read() -> bytes:
            # pyarrow asks for the size first, and then for that many bytes of whatever is there by
            # then. So read until the version is the same twice.
            content, version = b"", None
            while True:
                with self._filesystem.open_input_file(self._address) as file:
                    found = file.metadata()["ETag"]
                    if found == version:
                        return content
                    content, version = bytes(file.read()), found

        return self._patiently(read)

    def read_text(self) -> str:
        """Read the object as UTF-8 text."""
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        """Write the object; a reader sees the old content or the new, never a part of it."""

        def write() -> None:
            with self._filesystem.open_output_stream(self._address) as file:
                file.write(content)

        def write_in_thread() -> None:  # Ctrl-C interrupts the main thread only, so not the write
            with ThreadPoolExecutor(1) as thread:
                thread.submit(write).result()

        self._patiently(write_in_thread)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._patiently(lambda: self._filesystem.delete_file(self._address))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def exists(self) -> bool:
        """Return whether there is an object of this name, or any below it."""
        return self._kind() != "NotFound"

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return self._kind() == "File"

    def is_dir(self) -> bool:
        """Return whether there are objects below this name."""
        return self._kind() == "Directory"

    def glob(self, pattern: str) -> Iterator["S3Path"]:
        """Find the paths below this one that match, in order; `*` stands for part of one name."""
        first, _, rest = pattern.partition("/")
        for found in self._children() if "*" in first else [self / first]:
            if not fnmatch.fnmatchcase(found.name, first):
                continue
            if rest:
                yield from found.glob(rest)
            elif "*" in first or found.exists():
                yield found

    def reach(self) -> None:
        """Check that this path can be read, without waiting for an S3 that does not answer.

        Raises: FerError that says why it cannot be read.
        """
        try:
            self._filesystem.get_file_info(self._address)
        except OSError as error:
            raise unusable(self, error) from error

    def check(self) -> None:
        """Check that objects can be written below this path and deleted, without waiting.

        Raises: FerError that says why this is not possible.
        """
        probe = self / f".probe-{secrets.token_hex(4)}"
        try:
            with probe._filesystem.open_output_stream(probe._address) as file:
                file.write(b"")
            probe._filesystem.delete_file(probe._address)
        except OSError as error:
            raise unusable(self, error) from error

    @property
    def _address(self) -> str:
        """The path as pyarrow wants it: `bucket/key`."""
        return str(PurePosixPath(self.bucket) / self.key)

    @property
    def _filesystem(self) -> Any:
        return filesystem(self.bucket, self.options)

    def _kind(self) -> str:
        """Return pyarrow's name for what is there: File, Directory or NotFound."""
        kind: str = self._patiently(lambda: self._filesystem.get_file_info(self._address)).type.name
        return kind

    def _children(self) -> list["S3Path"]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._address, allow_not_found=True)
        found = self._patiently(lambda: self._filesystem.get_file_info(selector))
        return [self / name for name in sorted(info.base_name for info in found)]

    def _patiently(self, action: Callable[[], Result]) -> Result:
        return patiently(self, self.bucket, action)


AnyPath = Path | S3Path


def parse(text: str) -> AnyPath:
    """Read the place that a user named: a folder, or `s3://bucket/key`.

    Raises: FerError if it is neither, or has characters that other tools would read differently.
    """
    if not text.strip():
        raise FerError("a place is empty: give a folder, or s3://BUCKET/FOLDER.")
    if not text.startswith(SCHEME):
        if "://" in text:
            raise FerError(f"'{text}' cannot be used: give a folder, or s3://BUCKET/FOLDER.")
        return Path(text)
    address = text.removeprefix(SCHEME).partition("?")[0]
    bucket, _, key = address.partition("/")
    if not bucket:
        raise FerError(f"'{text}' names no bucket: give s3://BUCKET/FOLDER.")
    # pandas reads other characters differently from pyarrow, so a board would not be found again.
    if not _PLAIN.fullmatch(address) or ".." in key.split("/"):
        raise FerError(
            f"'{text}' cannot be used: give an address of letters, digits and . _ = - / only, "
            "without '..'."
        )
    return recorded(text)


def recorded(text: str) -> AnyPath:
    """Read a place that we wrote down: the text of a path, with any name that a study may have."""
    if not text.startswith(SCHEME):
        return Path(text)
    address, mark, options = text.removeprefix(SCHEME).partition("?")
    bucket, _, key = address.partition("/")
    return S3Path(bucket, PurePosixPath(key.strip("/")), mark + options)


def relative(place: AnyPath, folder: AnyPath) -> str | None:
    """Name a place as seen from a folder, such as `../../store`; both are absolute.

    None if there is no such name: one is in S3 and the other is not, or in another bucket.
    """
    if isinstance(place, S3Path) and isinstance(folder, S3Path):
        if (place.bucket, place.options) != (folder.bucket, folder.options):
            return None
        return posixpath.relpath(f"/{place.key}", f"/{folder.key}")
    if isinstance(place, S3Path) or isinstance(folder, S3Path):
        return None
    return Path(os.path.relpath(place, folder)).as_posix()


def joined(folder: AnyPath, text: str) -> AnyPath:
    """Give the place that `relative` has named as seen from an absolute folder."""
    if isinstance(folder, S3Path):
        key = posixpath.normpath(f"/{folder.key}/{text}").strip("/")
        return S3Path(folder.bucket, PurePosixPath(key), folder.options)
    return Path(os.path.normpath(folder / text))


def is_relative(text: str) -> bool:
    """Return whether a text names a place as seen from some folder."""
    return not text.startswith(SCHEME) and not os.path.isabs(text)


def plain_name(name: str, otherwise: str = "space") -> str:
    """Write a name in characters that every file system, S3 and pandas take for a file's name.

    pandas passes over files whose names begin with a dot or an underscore. `otherwise` is the name
    if none of the characters can be kept.
    """
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", letters)[:_LONGEST_NAME].strip("._-")
    return plain or otherwise
