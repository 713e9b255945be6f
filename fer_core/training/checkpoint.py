"""Checkpoints of what is trained alone: a trial that lost its machine goes on elsewhere from one.

A file is the SHA-256 of the rest, and the rest is what `torch.save` wrote; no code of it runs when
it is read. One that is torn, damaged or of other data is taken for none, and training begins anew.
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

LEAST_SECONDS = 1.0  # between two
SHARE = 0.1  # of the time, that writing may take
_DIGEST_BYTES = 32
_FORMAT = 1  # to be raised where what is kept has another meaning


class Checkpoint:
    """The file that holds how far one fit is."""

    def __init__(self, place: AnyPath, made_of: Mapping[str, Any], *, write_seconds: float) -> None:
        """Know the fit by all that it is `made_of` (JSON); the last write took `write_seconds`."""
        self._place = place
        self._key = key_of({**made_of, "torch": torch.__version__, "format": _FORMAT})
        self._since = time.perf_counter()
        self.write_seconds = write_seconds

    def read(self) -> dict[str, Any] | None:
        """Give the state that was kept of this very fit, if there is one that is whole."""
        try:
            content = self._place.read_bytes()
            body = memoryview(content)[_DIGEST_BYTES:]
            if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
                return None
            kept = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
            state: dict[str, Any] | None = kept["state"] if kept["key"] == self._key else None
        except Exception:  # torch, zip and pickle each have errors of their own for a foreign file
            return None
        return state

    def is_due(self, seconds: float, *, last: bool) -> bool:
        """Whether to write after an epoch of a fit that trained so long.

        The last one saves training it again: it may take as long as that.
        """
        if last:
            return seconds >= max(LEAST_SECONDS, self.write_seconds)
        waited = time.perf_counter() - self._since
        return waited >= max(LEAST_SECONDS, self.write_seconds / SHARE)

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep a state in place of the last."""
        started = time.perf_counter()
        buffer = io.BytesIO()
        torch.save({"key": self._key, "state": dict(state)}, buffer)
        body = buffer.getvalue()
        write_atomically(self._place, hashlib.sha256(body).digest() + body)
        self._since = time.perf_counter()
        self.write_seconds = self._since - started

    def remove(self) -> None:
        """Forget it; what cannot be removed does no harm."""
        with suppress(OSError):
            self._place.unlink(missing_ok=True)
