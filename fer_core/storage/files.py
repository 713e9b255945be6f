"""Files that are whole or absent: written aside, synced, renamed; and hashes of files."""

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer_core.storage.paths import AnyPath, S3Path


def write_atomically(path: AnyPath, content: bytes, *, mark: str = "") -> None:
    """Replace a file as a whole: written aside, synced, renamed; S3 does so by itself.

    With a mark, the file aside is not one that the next maker of the entry clears away.
    """
    if isinstance(path, S3Path):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: file.write(content), mark)


def file_sha256(path: Path) -> str:
    """Hash a file, or a folder by the names and contents of its files that are not hidden."""
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
        parts = [f"{file.name}:{file_sha256(file)}" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_aside(path: Path, fill: Any, mark: str = "") -> str:
    aside = f".{mark}{path.name}.{secrets.token_hex(4)}.tmp"
    name = path.with_name(aside)  # not mkstemp: others read it
    try:
        with name.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        digest = file_sha256(name)
        os.replace(name, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno in (None, errno.ENOSPC, errno.EDQUOT):
            # NumPy's has no number where the disk is full, and others no name.
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
    return digest
