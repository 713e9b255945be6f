"""Which drawn trials wait, and which of them go together to the worker that asks.

Nothing here depends on time, so that two runs with one worker draw and pack alike.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property

from fer_core.config import Config
from fer_core.trial import packing

_PATIENCE = 4  # packs that may go before the one whose turn it is


@dataclass(frozen=True)
class QueuedTrial:
    """A trial whose config is drawn: a member of the pack to come."""

    number: int
    config: Config
    again: bool = False  # it was begun before, and goes before what is new
    alone: bool = False  # its worker died once, and may again: no other is to die with it
    larger: bool = False  # it ran out of memory on the share of its shape

    @cached_property
    def pack_key(self) -> str:
        return (
            f"alone:{self.number}" if self.alone or self.larger else packing.pack_key(self.config)
        )

    @property
    def shape(self) -> str:
        """What it asks of a node: the share of a "whole" trial, of a "head", or a "larger" one."""
        if self.larger:
            return "larger"
        return "head" if packing.is_head(self.config) else "whole"

    @cached_property
    def stage_key(self) -> str:
        return packing.stage_key(self.config)


@dataclass
class Queue:
    """Drawn trials in the order of their draws."""

    most_members: Callable[[Config], int]  # that a pack of such configs should have
    _waiting: list[QueuedTrial] = field(default_factory=list)
    _most: dict[str, int] = field(default_factory=dict)  # by pack_key, which decides it
    _passed_over: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, drawn: QueuedTrial) -> None:
        self._waiting.append(drawn)
        self._waiting.sort(key=lambda waiting: not waiting.again)

    @property
    def shape(self) -> str | None:
        """The shape of the pack whose turn it is."""
        return self._waiting[0].shape if self._waiting else None

    def wants_more(self, limit: int) -> bool:
        """Whether the pack whose turn it is lacks members; it gets at most `limit`.

        Where draws do not fit together, twice as many as it wants are drawn at most.
        """
        if not self._waiting:
            return True
        head = self._waiting[0]
        wanted = min(self._most_of(head), limit)
        alike = sum(drawn.pack_key == head.pack_key for drawn in self._waiting)
        return alike < wanted and len(self._waiting) < min(2 * wanted, limit)

    def take(self, holds: Collection[str], limit: int) -> list[QueuedTrial]:
        """Give the next pack, sooner one whose stage the idle worker `holds`."""
        if not self._waiting:
            return []
        head = lead = self._waiting[0]
        if self._passed_over < _PATIENCE and not head.again:
            lead = next((drawn for drawn in self._waiting if drawn.stage_key in holds), head)
        self._passed_over = 0 if lead.pack_key == head.pack_key else self._passed_over + 1
        alike = [drawn for drawn in self._waiting if drawn.pack_key == lead.pack_key]
        pack = alike[: min(self._most_of(lead), limit)]
        gone = {drawn.number for drawn in pack}
        self._waiting = [drawn for drawn in self._waiting if drawn.number not in gone]
        return pack

    def _most_of(self, drawn: QueuedTrial) -> int:
        if drawn.pack_key not in self._most:
            self._most[drawn.pack_key] = max(1, self.most_members(drawn.config))
        return self._most[drawn.pack_key]
