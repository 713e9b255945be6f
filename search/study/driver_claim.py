"""Make sure that one driver at a time works on a study in S3, which has no file locks.

The driver of a study keeps a *claim*, a small file in the study's folder, and rewrites it every few
seconds with a higher count, its *beat*. A driver that was killed stops beating, and another one may
take over. An observer measures the silence with its own clock, so the clocks of two machines need
not agree. A claim stops a second driver from starting. The journal's terms handle the other case: a
driver that lost its connection cannot write once another has taken over (`journal_backends.py`).
`Folder.locked` uses this module; for a study in an ordinary folder it uses a file lock instead.
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
SILENT_SECONDS = 20.0  # a driver that has not beaten for so long counts as dead


@dataclass(frozen=True)
class _Claim:
    """The content of the claim's file: which driver holds the study, and whether it still works."""

    term: int  # one more than the term of the driver before
    driver: str
    beat: int  # 0 while the driver only asks for the study
    process: int
    host: str
    processes: str  # the process table in which `process` is valid (`_processes`); "": unknown
    ended: bool = False  # the driver has stopped; the file stays, so that terms keep counting up

    def yields_to(self, other: "_Claim | None") -> bool:
        """Return whether another driver holds the study instead of this one.

        A driver that only asks for the study does not hold it, nor does one of an earlier term.
        """
        if other is None or other.driver == self.driver or not other.beat:
            return False
        return (other.term, other.driver) > (self.term, self.driver)


@contextmanager
def claimed(file: S3Path, study: str) -> Iterator[None]:
    """Hold the claim on a study while the context lasts.

    Raises: FerError where another driver works on the study.
    """
    past, checked_at = _wait_for_silence(file, study)
    term, driver = past.term + 1 if past else 1, secrets.token_hex(8)
    request = _Claim(term, driver, 0, os.getpid(), socket.gethostname(), _processes())
    _write(file, request)
    # Of two drivers that begin at once, the one that writes last goes on, and the other sees that
    # after a moment. If S3 was slow, our request may instead have overwritten the claim of a driver
    # that works: we wait until that one would have beaten again.
    quick = time.monotonic() - checked_at < _SETTLE_SECONDS
    time.sleep(_SETTLE_SECONDS if quick else SILENT_SECONDS)
    if (found := _read(file)) is None or found.driver != driver:
        raise FerError(
            f"study {study} is being run by another process, which began just now; "
            "wait until it ends."
        )
    claim = replace(request, beat=1)
    _write(file, claim)
    ended = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(ended, file, claim, study), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(SILENT_SECONDS)  # if S3 does not answer, the claim falls silent by itself


def _beat_until(ended: threading.Event, file: S3Path, claim: _Claim, study: str) -> None:
    """Beat until the driver has ended; end the driver if another has taken over the study."""
    while not ended.wait(BEAT_SECONDS):
        claim = replace(claim, beat=claim.beat + 1)
        try:
            if claim.yields_to(_read(file)):
                # Our connection was lost and another driver took over: our writes would disturb it.
                print(f"error: another process goes on with study {study}.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGKILL)
            _write(file, claim)
        except FerError as error:  # we cannot beat: stop before another driver takes over
            print(f"error: {error}", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGTERM)
            return
    with suppress(FerError):
        if (found := _read(file)) is not None and found.driver == claim.driver:
            _write(file, replace(claim, ended=True))


def _wait_for_silence(file: S3Path, study: str) -> tuple[_Claim | None, float]:
    """Watch the claim that is in the file until its driver can be taken for dead.

    Returns the claim, None if there is none, and the time of the last look at it.

    Raises: FerError where its driver still beats.
    """
    checked_at = time.monotonic()
    first = _read(file)
    if first is None or first.ended or _died_here(first):
        return first, checked_at
    ends = checked_at + SILENT_SECONDS
    while checked_at < ends:
        time.sleep(BEAT_SECONDS / 2)
        checked_at = time.monotonic()
        found = _read(file)
        if found is None or found.ended:
            return found or first, checked_at
        if found != first:
            who = f"process {found.process} on {found.host}"
            raise FerError(
                f"study {study} is being run by another process, {who}; wait until it ends."
            )
    return first, checked_at


def _died_here(claim: _Claim) -> bool:
    """Return whether the claim's process would be visible from here and no longer exists."""
    if not claim.processes or claim.processes != _processes():
        return False
    try:
        os.kill(claim.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it exists, and belongs to another user
        return False
    return False


def _processes() -> str:
    """Name the process table that this process sees, or return "" where there is no /proc.

    The name is that of the machine's boot and of the container. Process ids from two tables must
    not be compared.
    """
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
