"""Leases that count on all machines of a cluster: an actor on the driver's machine gives them out.

A holder says every few seconds that it lives; where it falls silent, as with its machine, the
lease is given to the next who asks.
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

SILENT_SECONDS = 20.0  # after which a holder is taken to be dead; a busy one may be late
_BEAT_SECONDS = 4.0
_NAMESPACE = "fer-search"


class LeaseServer:
    """Knows who makes what."""

    def __init__(self, silent_seconds: float = SILENT_SECONDS) -> None:
        self._silent_seconds = silent_seconds
        self._leases: dict[str, tuple[str, float]] = {}  # holder, and when it was last heard

    def take(self, name: str, holder: str) -> bool:
        """Give a lease that nobody living has."""
        other, heard = self._leases.get(name, (holder, 0.0))
        if other != holder and time.monotonic() - heard < self._silent_seconds:
            return False
        self._leases[name] = holder, time.monotonic()
        return True

    def hear(self, holder: str) -> None:
        """Note that a holder lives."""
        for name, (other, _) in self._leases.items():
            if other == holder:
                self._leases[name] = holder, time.monotonic()

    def free(self, name: str, holder: str) -> None:
        """Take a lease back."""
        if self._leases.get(name, ("", 0.0))[0] == holder:
            del self._leases[name]


@dataclass(frozen=True)
class Leases:
    """The leases of one store; a worker finds the actor by its name."""

    name: str

    @contextmanager
    def take(self, name: str) -> Iterator[bool]:
        """Try to become the only maker on all machines; outside Ray nobody else is asked."""
        if not ray.is_initialized():
            yield True
            return
        try:
            holder = _holder(self.name)
            mine = bool(ray.get(holder.office.take.remote(name, holder.name)))
        except (RayError, ValueError):  # its office starts again, or cannot be reached for a while
            _holder.cache_clear()
            yield False
            return
        try:
            yield mine
        finally:
            if mine:
                with suppress(RayError):  # with the driver's machine the cluster is gone
                    ray.get(holder.office.free.remote(name, holder.name))


def connect(store: str, *, silent_seconds: float = SILENT_SECONDS) -> Leases:
    """Open the leases of a store, on this machine, for all drivers of the cluster that use it."""
    name = f"leases of {store}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    office: Any = ray.remote(LeaseServer).options(
        name=name,
        namespace=_NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        scheduling_strategy=here,
    )
    ray.get(office.remote(silent_seconds).hear.remote(""))
    return Leases(name)


class _Holder:
    """This process, as the office knows it."""

    def __init__(self, name: str) -> None:
        self.office: Any = ray.get_actor(name, namespace=_NAMESPACE)
        self.name = secrets.token_hex(8)
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_SECONDS)
            with suppress(RayError):
                self.office.hear.remote(self.name)


@cache
def _holder(name: str) -> _Holder:
    return _Holder(name)
