"""Checkpoints: save the state of a training, so that a trial can continue after losing its machine.

`fits.OneFit` writes and reads them, for fits that are not stacked with others. A checkpoint file
is a SHA-256 followed by the bytes that it was computed from, which `torch.save` wrote. No code in
a file is ever executed. A file that is cut short, damaged or of other data counts as absent, and
training starts from the beginning.
"""

import hashlib
import io
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from fer_core.storage.files import write_atomically
from fer_core.storage.paths import AnyPath
from fer_core.storage.store import key_of

LEAST_SECONDS = 1.0  # shortest time between two writes of one file
SHARE = 0.1  # largest share of the time that writing may take
_DIGEST_BYTES = 32
_FORMAT = 3  # raise it when the content of the state changes its meaning


class Checkpoint:
    """Read and write the checkpoint file of one fit."""

    def __init__(self, path: AnyPath, made_of: Mapping[str, Any], *, write_seconds: float) -> None:
        """Identify the fit by everything that it is `made_of`, as JSON values.

        `write_seconds` is the time that the last write of such a file took; it sets how often
        the file is written.
        """
        self._path = path
        self._key = key_of({**made_of, "torch": torch.__version__, "format": _FORMAT})
        self._since = time.perf_counter()
        self.write_seconds = write_seconds

    def read(self) -> dict[str, Any] | None:
        """Return the state that was saved for this same fit, or None without a valid file."""
        try:
            content = self._path.read_bytes()
            body = memoryview(content)[_DIGEST_BYTES:]
            if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
                return None
            saved = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
            state: dict[str, Any] | None = saved["state"] if saved["key"] == self._key else None
        except Exception:  # torch, zip and pickle each raise other errors for a foreign file
            return None
        return state

    def is_due(self, seconds: float, *, last: bool) -> bool:
        """Return whether to write after an epoch; `seconds` is how long the fit has trained.

        After the last epoch, the file is written unless writing takes longer than training did.
        """
        if last:
            return seconds >= max(LEAST_SECONDS, self.write_seconds)
        waited = time.perf_counter() - self._since
        return waited >= max(LEAST_SECONDS, self.write_seconds / SHARE)

    def write(self, state: Mapping[str, Any]) -> None:
        """Save a state, in place of the one before it."""
        started = time.perf_counter()
        buffer = io.BytesIO()
        torch.save({"key": self._key, "state": dict(state)}, buffer)
        body = buffer.getvalue()
        write_atomically(self._path, hashlib.sha256(body).digest() + body)
        self._since = time.perf_counter()
        self.write_seconds = self._since - started

    def remove(self) -> None:
        """Remove the file; one that cannot be removed does no harm and is left."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
