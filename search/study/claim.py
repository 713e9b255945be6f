"""A claim on a study in S3, which has no locks: its driver says every few seconds that it is there.

A driver that was killed falls silent, and another takes over. Whoever looks on counts beats by its
own clock, so no two clocks need to agree.
"""

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fer_core.errors import FerError
from fer_core.places import S3Path
from fer_core.store import write_atomically

BEAT_SECONDS = 5.0
_SETTLE_SECONDS = 1.0
SILENT_SECONDS = 20.0  # after which a driver is taken to be dead


@contextmanager
def claimed(file: S3Path, study: str) -> Iterator[None]:
    """Hold a claim while this process works.

    Raises: FerError where another driver beats.
    """
    if (other := _beating(file)) is not None:
        who = f"process {other.get('process')} on {other.get('host')}"
        raise FerError(f"study {study} is being run by another process, {who}.")
    driver, ended = secrets.token_hex(8), threading.Event()
    _beat(file, driver, 0)
    time.sleep(_SETTLE_SECONDS)  # of two that begin at once, whoever wrote last
    if (found := _read(file)) is None or found.get("driver") != driver:
        raise FerError(f"study {study} is being run by another process, which began just now.")
    thread = threading.Thread(target=_beats, args=(file, driver, study, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(BEAT_SECONDS)
        file.drop()


def _beats(file: S3Path, driver: str, study: str, ended: threading.Event) -> None:
    beat = 0
    while not ended.wait(BEAT_SECONDS):
        beat += 1
        try:
            found = _read(file)
            if found is not None and found.get("driver") != driver:
                # We were cut off, and another goes on: what we would write would be in its way.
                print(f"error: another process goes on with study {study}.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGKILL)
            _beat(file, driver, beat)
        except FerError as error:  # nobody must take over while we go on
            print(f"error: {error}", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _beat(file: S3Path, driver: str, beat: int) -> None:
    said = {"driver": driver, "beat": beat, "process": os.getpid(), "host": socket.gethostname()}
    write_atomically(file, json.dumps(said).encode())


def _beating(file: S3Path) -> dict[str, Any] | None:
    """Watch a claim that is there, and give it if its driver lives."""
    first = _read(file)
    if first is None or _died_here(first):
        return None
    ends = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < ends:
        time.sleep(BEAT_SECONDS / 2)
        found = _read(file)
        if found is None:
            return None
        if found != first:
            return found
    return None


def _died_here(claim: dict[str, Any]) -> bool:
    """Whether a claim is of a process of this machine that is no more."""
    if claim.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(claim["process"]), 0)
    except ProcessLookupError:
        return True
    except (KeyError, TypeError, ValueError, PermissionError):
        return False
    return False


def _read(file: S3Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
