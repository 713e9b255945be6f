"""Where files lie: in a folder, on this machine or a mount, or in S3, through pyarrow.

What lies in S3 has a path with the words of `pathlib.Path`. When S3 does not answer, its caller
waits until it does: nothing that was finished may be lost because a network was gone for a minute.
"""

import fnmatch
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fer_core.errors import FerError

S = TypeVar("S")
T = TypeVar("T")
PATIENCE_SECONDS = 3600.0  # that an S3 which does not answer is waited for
_PAUSES = (0.5, 1.0, 2.0, 5.0)  # seconds between two attempts; then the last
_AT_ONCE = 16  # requests
_CALL = threading.local()  # `over`, where many are at it: set when nobody waits for them any more
_SCHEME = "s3://"
_PLAIN = re.compile(r"[A-Za-z0-9._=/-]+")
# What waiting does not mend, in the words of AWS.
_FINAL = (  # in which AWS and pyarrow differ: ACCESS_DENIED, AccessDenied
    "accessdenied",
    "expiredtoken",
    "invalidaccesskeyid",
    "invalidclienttoken",
    "missingauthentication",
    "invalidtoken",
    "nosuchbucket",
    "permanentredirect",
    "signaturedoesnotmatch",
    "unrecognizedclient",
    # The answer to HEAD has no text: so it says an expired token, and another region's bucket.
    "(http status 400) during headobject",
    "(http status 301) during headobject",
)


class Outages:
    """Tells whoever listens when S3 stops answering, and when it answers again."""

    def __init__(self) -> None:
        self.print: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
        self._since: dict[str, float] = {}  # by bucket

    def begin(self, bucket: str, reason: str) -> None:
        if bucket not in self._since:
            self._since[bucket] = time.monotonic()
            self.print(f"s3://{bucket} does not answer, waiting: {reason}")

    def end(self, bucket: str) -> None:
        since = self._since.pop(bucket, None)
        if since is not None:
            self.print(f"s3://{bucket} answers again, after {time.monotonic() - since:.0f} s")


OUTAGES = Outages()  # of this process


@dataclass(frozen=True, order=True)
class S3Path:
    """An object in S3, or a folder of objects: `s3://bucket/key`."""

    bucket: str
    key: PurePosixPath
    options: str = ""  # `?endpoint_override=..`, as pyarrow reads it

    def __str__(self) -> str:
        return f"{_SCHEME}{self._at}{self.options}"

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
        """Give itself: there is no other kind."""
        return self

    def read_bytes(self) -> bytes:
        """Read the object, whole also while it is replaced by what never lay there before.

        Raises: FileNotFoundError where there is none.
        """

        def read() -> bytes:
            content, version = b"", None
            while True:  # pyarrow asks for the size, then for so many bytes of what lies there then
                with self._files.open_input_file(self._at) as file:
                    found = file.metadata()["ETag"]
                    if found == version:
                        return content
                    content, version = bytes(file.read()), found

        return self._patiently(read)

    def read_text(self) -> str:
        """Read the object, which is UTF-8."""
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        """Put the object, or replace it as a whole."""

        def write() -> None:
            with self._files.open_output_stream(self._at) as file:
                file.write(content)

        def whole() -> None:  # in a thread, which no Ctrl-C stops halfway
            with ThreadPoolExecutor(1) as alone:
                alone.submit(write).result()

        self._patiently(whole)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._patiently(lambda: self._files.delete_file(self._at))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def reach(self) -> None:
        """Ask S3 for what lies here, without waiting for one that does not answer.

        Raises: FerError that says why it cannot be read.
        """
        try:
            self._files.get_file_info(self._at)
        except OSError as error:
            raise FerError(f"{self} cannot be used: {_text(error)}.") from error

    def exists(self) -> bool:
        """Whether there is such an object, or any below it."""
        return self._kind() != "NotFound"

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self._kind() == "File"

    def is_dir(self) -> bool:
        """Whether objects lie below it."""
        return self._kind() == "Directory"

    def glob(self, pattern: str) -> Iterator["S3Path"]:
        """Give what lies below it and matches, in order; `*` stands for part of one name."""
        first, _, rest = pattern.partition("/")
        for found in self._listed() if "*" in first else [self / first]:
            if not fnmatch.fnmatchcase(found.name, first):
                continue
            if rest:
                yield from found.glob(rest)
            elif "*" in first or found.exists():
                yield found

    def check(self) -> None:
        """Write an object and delete it, without waiting for an S3 that does not answer.

        Raises: FerError that says why it cannot be used.
        """
        probe = self / f".probe-{secrets.token_hex(4)}"
        try:
            with probe._files.open_output_stream(probe._at) as file:
                file.write(b"")
            probe._files.delete_file(probe._at)
        except OSError as error:
            raise FerError(f"{self} cannot be used: {_text(error)}.") from error

    @property
    def _at(self) -> str:
        return str(PurePosixPath(self.bucket) / self.key)

    @property
    def _files(self) -> Any:
        return _filesystem(self.bucket, self.options)

    def _kind(self) -> str:
        kind: str = self._patiently(lambda: self._files.get_file_info(self._at)).type.name
        return kind

    def _listed(self) -> list["S3Path"]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._at, allow_not_found=True)
        found = self._patiently(lambda: self._files.get_file_info(selector))
        return [self / name for name in sorted(each.base_name for each in found)]

    def _patiently(self, action: Callable[[], T]) -> T:
        """Repeat what fails until S3 answers.

        Raises: FerError where waiting would not help, or did not.
        """
        began, attempt = time.monotonic(), 0
        while True:
            try:
                result = action()
            except FileNotFoundError:
                OUTAGES.end(self.bucket)
                raise
            except OSError as error:
                late = time.monotonic() - began > PATIENCE_SECONDS
                if late or any(word in str(error).lower().replace("_", "") for word in _FINAL):
                    raise FerError(f"{self} cannot be used: {_text(error)}.") from error
                OUTAGES.begin(self.bucket, _text(error))
                over: threading.Event = getattr(_CALL, "over", threading.Event())
                if over.wait(_PAUSES[min(attempt, len(_PAUSES) - 1)]):
                    raise
                attempt += 1
            else:
                OUTAGES.end(self.bucket)
                return result


AnyPath = Path | S3Path


def parse(text: str) -> AnyPath:
    """Read a folder, or `s3://bucket/key`.

    Raises: FerError where it is neither.
    """
    if not text.startswith(_SCHEME):
        if "://" in text:
            raise FerError(f"'{text}' cannot be used: give a folder, or s3://BUCKET/FOLDER.")
        return Path(text)
    where, mark, options = text.removeprefix(_SCHEME).partition("?")
    bucket, _, key = where.partition("/")
    if not bucket:
        raise FerError(f"'{text}' names no bucket: give s3://BUCKET/FOLDER.")
    if not _PLAIN.fullmatch(where) or ".." in key.split("/"):  # pandas reads others differently
        raise FerError(f"'{text}' cannot be used: give letters, digits and . _ = - / only.")
    return S3Path(bucket, PurePosixPath(key.strip("/")), mark + options)


def at_once(action: Callable[[S], T], items: Iterable[S], *, threads: int = _AT_ONCE) -> list[T]:
    """Do the same to many things, each of which mostly waits; an interrupt ends all of them."""
    over = threading.Event()

    def one(item: S) -> T:
        _CALL.over = over
        return action(item)

    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(one, items))
    finally:
        over.set()
        pool.shutdown(wait=False, cancel_futures=True)


@cache
def _filesystem(bucket: str, options: str) -> Any:
    """Connect to S3 once a process; pyarrow finds credentials, region and AWS_ENDPOINT_URL.

    Raises: OSError where S3 does not say which region the bucket is in.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem

    # Otherwise each file takes three requests, as if it were large.
    delayed = f"{options}&allow_delayed_open=true" if options else "?allow_delayed_open=true"
    try:
        files, _ = FileSystem.from_uri(f"{_SCHEME}{bucket}{delayed}")
    except ArrowInvalid as error:
        raise FerError(f"s3://{bucket}{options} cannot be used: {_text(error)}.") from error
    return files


def _text(error: Exception) -> str:
    """Shorten what pyarrow says: what was done, and AWS's or the network's own reason."""
    text = " ".join(str(error).split())
    return text.partition("; Details")[0].rstrip(".")[:300]
