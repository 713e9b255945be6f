"""Write files so that each is whole or absent, and hash files.

A file is written under another name beside its target, synced to disk, and renamed. A process that
is killed at any moment therefore leaves the old file or the new one, never a part. The store, study
folders, boards and checkpoints write through this module; datasets and weights are hashed by it.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from fer_core.storage.paths import AnyPath, S3Path


def write_atomically(path: AnyPath, content: bytes, *, mark: str = "") -> None:
    """Write or replace a file as a whole, in a folder or in S3; missing folders are made.

    `mark` begins the name of the temporary file. `Store.lease` deletes temporary files of an entry
    that have no mark, so a writer without the lease needs one.
    """
    if isinstance(path, S3Path):
        path.write_bytes(content)  # S3 itself shows an object only once it is whole
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: file.write(content), mark)


def write_aside(path: Path, fill: Callable[[BinaryIO], object], mark: str = "") -> str:
    """Write or replace a file as a whole by a function, and return the SHA-256 of its content.

    `fill` writes the content into the temporary file; `mark` is that of `write_atomically`.

    Raises: OSError that names `path`, for instance if the disk is full; the old file then stays.
    """
    # tempfile.mkstemp would make a file that other users cannot read.
    temporary = path.with_name(f".{mark}{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        digest = file_sha256(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in (None, errno.ENOSPC, errno.EDQUOT):
            # On a full disk NumPy raises an error without a number, and others one without a path.
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
    return digest


def file_sha256(path: Path) -> str:
    """Hash a file's content, so that a change of it is noticed.

    The hash of a folder is one of the names and contents of its files; hidden files do not count.
    """
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
        hashes = [f"{file.name}:{file_sha256(file)}" for file in files]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
