"""Leases that count on all machines of a cluster, so that one worker computes each stage.

A worker that wants to compute a stage takes its lease first. An actor on the driver's machine, the
lease server, gives the leases out. A holder tells the server every few seconds that it is alive; if
it falls silent, for example because its machine is gone, the next worker that asks gets the lease.
`reachability.py` connects a store that several machines share to its lease server.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SILENT_SECONDS = 20.0  # a holder that is silent for so long counts as dead; a busy one may be late
_BEAT_SECONDS = 4.0
_NAMESPACE = "fer-search"


class LeaseServer:
    """Knows who holds which lease."""

    def __init__(self, silent_seconds: float = SILENT_SECONDS) -> None:
        self._silent_seconds = silent_seconds
        self._leases: dict[str, tuple[str, float]] = {}  # lease: its holder, and its last sign

    def take(self, name: str, holder: str) -> bool:
        """Give a lease to a holder, unless another living one has it; return whether it was given.

        A holder that has the lease already gets it again.
        """
        other, last_sign = self._leases.get(name, (holder, 0.0))
        if other != holder and time.monotonic() - last_sign < self._silent_seconds:
            return False
        self._leases[name] = holder, time.monotonic()
        return True

    def note_alive(self, holder: str) -> None:
        """Note that a holder is alive, for all leases that it holds."""
        for name, (other, _) in self._leases.items():
            if other == holder:
                self._leases[name] = holder, time.monotonic()

    def release(self, name: str, holder: str) -> None:
        """Take a lease back from its holder; from any other process, do nothing."""
        if self._leases.get(name, ("", 0.0))[0] == holder:
            del self._leases[name]


@dataclass(frozen=True)
class Leases:
    """The leases of one store; a worker finds their server by this name."""

    name: str

    @contextmanager
    def take(self, name: str) -> Iterator[bool]:
        """Try to become the only process of the cluster that computes an entry of the store.

        Yields whether this process has the lease. Outside Ray it always has it.
        """
        if not ray.is_initialized():
            yield True
            return
        try:
            holder = _holder(self.name)
            mine = bool(ray.get(holder.server.take.remote(name, holder.name)))
        except (RayError, ValueError):  # the server restarts, or cannot be reached for a while
            _holder.cache_clear()
            yield False
            return
        try:
            yield mine
        finally:
            if mine:
                with suppress(RayError):  # if the driver's machine is gone, so is the cluster
                    ray.get(holder.server.release.remote(name, holder.name))


def connect(store: str, *, silent_seconds: float = SILENT_SECONDS) -> Leases:
    """Connect to the lease server of a store; start it on this machine if there is none yet.

    All drivers of the cluster that use the store share one server.
    """
    name = f"leases of {store}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    server: Any = ray.remote(LeaseServer).options(
        name=name,
        namespace=_NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        scheduling_strategy=here,
    )
    ray.get(server.remote(silent_seconds).note_alive.remote(""))  # waits until it answers
    return Leases(name)


class _Holder:
    """This process as a holder of leases; a thread tells the server that it is alive."""

    def __init__(self, name: str) -> None:
        self.server: Any = ray.get_actor(name, namespace=_NAMESPACE)
        self.name = secrets.token_hex(8)
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_SECONDS)
            with suppress(RayError):
                self.server.note_alive.remote(self.name)


@cache
def _holder(name: str) -> _Holder:
    return _Holder(name)
