"""The queue of trials that wait for a worker, and how they are gathered into packs.

A *pack* is a group of trials that train together on one worker. The searcher adds trials whose
configs are drawn, and takes a pack when a worker is free. Nothing here depends on time, so two
studies with one worker each and the same seed draw and pack alike.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fer_core.config import Config
from fer_core.trial import packing

_PATIENCE = 4  # packs that may go, at most, before the pack whose turn it is


@dataclass(frozen=True)
class QueuedTrial:
    """A trial whose config is drawn, and which waits to become a member of a pack."""

    number: int
    config: Config
    params: Mapping[str, Any] = field(default_factory=dict)  # that the sampler drew
    again: bool = False  # it repeats an interrupted trial, and goes before new trials
    alone: bool = False  # its worker died before, and may die again: no other trial is to suffer
    larger: bool = False  # it ran out of memory on the usual share of a machine
    seed_offset: int = 0  # how far above the study's seed it trains

    @cached_property
    def pack_key(self) -> str:
        """Trials with equal keys can train in one pack, which has one seed."""
        if self.alone or self.larger:
            return f"alone:{self.number}"
        return f"{self.seed_offset}:{packing.pack_key(self.config)}"

    @property
    def shape(self) -> str:
        """Which share of a machine it needs: that of a "whole" trial, a "head", or a "larger" one.

        A head trains on stored features; a whole trial runs its backbone as well.
        """
        if self.larger:
            return "larger"
        return "head" if packing.is_head(self.config) else "whole"

    @cached_property
    def stage_key(self) -> str:
        """Trials with equal keys read the same stages, so the second finds them in memory."""
        return packing.stage_key(self.config)


@dataclass
class Queue:
    """Waiting trials, repeats first, else in the order in which they were drawn."""

    most_members: Callable[[Config], int]  # the best size of a pack of such configs
    _waiting: list[QueuedTrial] = field(default_factory=list)
    _most: dict[str, int] = field(default_factory=dict)  # `most_members` by pack_key
    _passed_over: int = 0  # packs that went before the pack whose turn it is

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, trial: QueuedTrial) -> None:
        self._waiting.append(trial)
        self._waiting.sort(key=lambda waiting: not waiting.again)

    @property
    def shape(self) -> str | None:
        """The shape of the pack whose turn it is; None if no trial waits."""
        return self._waiting[0].shape if self._waiting else None

    def wants_more(self, limit: int) -> bool:
        """Return whether more trials should be drawn for the pack whose turn it is.

        The pack gets at most `limit` members. If draws do not fit together, drawing stops at twice
        as many trials as the pack should have.
        """
        if not self._waiting:
            return True
        first = self._waiting[0]
        wanted = min(self._most_of(first), limit)
        alike = sum(trial.pack_key == first.pack_key for trial in self._waiting)
        return alike < wanted and len(self._waiting) < min(2 * wanted, limit)

    def take(self, cached_stages: Collection[str], limit: int) -> list[QueuedTrial]:
        """Take the next pack, of at most `limit` members, out of the queue.

        A pack whose stage is among `cached_stages`, those that the idle worker has in memory, may
        go before the pack whose turn it is.
        """
        if not self._waiting:
            return []
        first = lead = self._waiting[0]
        if self._passed_over < _PATIENCE and not first.again:
            cached = (trial for trial in self._waiting if trial.stage_key in cached_stages)
            lead = next(cached, first)
        self._passed_over = 0 if lead.pack_key == first.pack_key else self._passed_over + 1
        alike = [trial for trial in self._waiting if trial.pack_key == lead.pack_key]
        pack = alike[: min(self._most_of(lead), limit)]
        taken = {trial.number for trial in pack}
        self._waiting = [trial for trial in self._waiting if trial.number not in taken]
        return pack

    def _most_of(self, trial: QueuedTrial) -> int:
        if trial.pack_key not in self._most:
            self._most[trial.pack_key] = max(1, self.most_members(trial.config))
        return self._most[trial.pack_key]
