"""A claim on a study in S3, which has no locks: its driver says every few seconds that it is there.

A driver that was killed falls silent, and another takes over. Whoever looks on counts beats by its
own clock, so no two clocks need to agree. A claim keeps a second driver from starting; that one
which was cut off harms nothing once it is back, is what the terms of the journal are for.
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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import S3Path

BEAT_SECONDS = 5.0
_SETTLE_SECONDS = 1.0
SILENT_SECONDS = 20.0  # after which a driver is taken to be dead


@dataclass(frozen=True)
class _Claim:
    """What a driver says of itself."""

    term: int  # one more than that of the driver that it follows
    driver: str
    beat: int  # 0 while it only asks
    process: int
    host: str
    processes: str  # the table in which its number is that of a process; "" where unknown
    ended: bool = False  # it works no more; what it says stays, lest terms begin anew

    def yields_to(self, other: "_Claim | None") -> bool:
        """Whether another driver holds the study; one that only asks, or came before, does not."""
        if other is None or other.driver == self.driver or not other.beat:
            return False
        return (other.term, other.driver) > (self.term, self.driver)


@contextmanager
def claimed(file: S3Path, study: str) -> Iterator[None]:
    """Hold a claim while this process works.

    Raises: FerError where another driver beats.
    """
    past, looked = _silent(file, study)
    term, driver = past.term + 1 if past else 1, secrets.token_hex(8)
    asks = _Claim(term, driver, 0, os.getpid(), socket.gethostname(), _processes())
    _write(file, asks)
    # Of two that begin at once, the one that wrote last goes on. The other has seen it by then,
    # but if S3 was slow: this may have been written over the claim of one that works, and beats.
    quick = time.monotonic() - looked < _SETTLE_SECONDS
    time.sleep(_SETTLE_SECONDS if quick else SILENT_SECONDS)
    if (found := _read(file)) is None or found.driver != driver:
        raise FerError(f"study {study} is being run by another process, which began just now.")
    holds = replace(asks, beat=1)
    _write(file, holds)
    ended = threading.Event()
    thread = threading.Thread(target=_beats, args=(file, holds, study, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(SILENT_SECONDS)  # where S3 does not answer, the claim falls silent by itself


def _beats(file: S3Path, claim: _Claim, study: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        claim = replace(claim, beat=claim.beat + 1)
        try:
            if claim.yields_to(_read(file)):
                # We were cut off, and another goes on: what we would write would be in its way.
                print(f"error: another process goes on with study {study}.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGKILL)
            _write(file, claim)
        except FerError as error:  # nobody must take over while we go on
            print(f"error: {error}", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGTERM)
            return
    with suppress(FerError):
        if (found := _read(file)) is not None and found.driver == claim.driver:
            _write(file, replace(claim, ended=True))


def _silent(file: S3Path, study: str) -> tuple[_Claim | None, float]:
    """Watch a claim that is there; give it, and when it was last seen to be silent.

    Raises: FerError where its driver lives.
    """
    looked = time.monotonic()
    first = _read(file)
    if first is None or first.ended or _died_here(first):
        return first, looked
    ends = looked + SILENT_SECONDS
    while looked < ends:
        time.sleep(BEAT_SECONDS / 2)
        looked = time.monotonic()
        found = _read(file)
        if found is None or found.ended:
            return found or first, looked
        if found != first:
            who = f"process {found.process} on {found.host}"
            raise FerError(f"study {study} is being run by another process, {who}.")
    return first, looked


def _died_here(claim: _Claim) -> bool:
    """Whether a claim is of a process that would be seen here, and is no more."""
    if not claim.processes or claim.processes != _processes():
        return False
    try:
        os.kill(claim.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's
        return False
    return False


def _processes() -> str:
    """Name this machine since it was started, and the processes of it that are seen from here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""


def _read(file: S3Path) -> _Claim | None:
    try:
        return _Claim(**json.loads(file.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write(file: S3Path, claim: _Claim) -> None:
    write_atomically(file, json.dumps(asdict(claim)).encode())
