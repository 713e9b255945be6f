"""Our searcher: Optuna's ask and tell behind Ray Tune's interface.

One Tune trial is one pack: drawn trials, its members, that train together. Why not Tune's own
OptunaSearch: it loses finished trials over a kill, tells stopped trials as complete, and leaves
failed ones running for ever (measured with Ray 2.60 and Optuna 5.0).
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from fer_core.config import Config
from fer_core.errors import ConfigError, FerError
from search.study import parts
from search.study.disk import FullDiskError
from search.study.journal import Journal
from search.study.parts import TrialResult
from search.study.queue import Queue, QueuedTrial
from search.study.space import Space

BLIND = 10  # draws that TPE makes at random, whatever came before
AHEAD = 4  # afterwards one draw of so many may be ahead of its results: packs, against knowledge
SHARES = 2  # of what is left a worker gets at most one such share at once, lest others stand by


class Nodes(Protocol):
    """What is known of the machines that packs run on, each by its name."""

    def lost(self, node: str | None) -> bool:
        """Whether a node is gone; None: one that is not known."""

    def died(self, node: str, config_jsons: Collection[str]) -> None:
        """Note that a worker died of itself, and what it ran."""

    def bar(self, node: str) -> bool:
        """Avoid a node from now on; give whether another can take its place."""

    def avoided(self, config_jsons: Collection[str]) -> list[str]:
        """Name the nodes that a pack should not go to."""


class StudySearcher(Searcher):
    """Draws configs until the study has its number of trials, or its time is up."""

    def __init__(
        self,
        journal: Journal,
        space: Space,
        *,
        trials: int,
        deadline: float | None,
        on_finish: Callable[[TrialResult], None],
        most_members: Callable[[Config], int],
        workers: int = 1,
    ) -> None:
        """Let no new trial start after `deadline`, on the clock of `time.monotonic`."""
        super().__init__()
        self.error: Exception | None = None  # Tune would take it for the trial's own
        self.nodes: Nodes | None = None  # None: no node is ever lost
        self.preempted = 0  # trials that lost their nodes
        self.room: Callable[[str], int] | None = None  # for packs of a shape at once
        self.print: Callable[[str], None] = lambda text: None  # for whoever runs the study
        self._journal = journal
        self._space = space
        self._trials = trials
        self._deadline = deadline
        self._on_finish = on_finish
        self._workers = workers
        self._finished = len(journal.finished_numbers())
        self._queue = Queue(most_members)
        self._live: dict[str, dict[int, QueuedTrial]] = {}  # members still in, by pack
        self._at: dict[str, str] = {}  # nodes, by pack
        self._avoids: dict[str, list[str]] = {}  # nodes that a pack was not to go to
        self.taken_back: list[str] = []  # packs that nobody is to wait for any more
        self._holds: Collection[str] = ()  # stages of the worker that ended last: Tune reuses it

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Give the next pack; None while others run that may yet need repeating."""
        if self._may_start():
            self._draw()
            if self._is_full():
                return None
            pack = self._queue.take(self._holds, self._limit())
            if pack:
                return self._begun(trial_id, pack)
        finished: Any = Searcher.FINISHED  # a string, which Ray's own type leaves out
        return None if self._live else finished

    @property
    def pending(self) -> Collection[str]:
        """Which packs wait for a node, or for their worker to start."""
        return self._live.keys() - self._at.keys()

    @property
    def busy(self) -> Collection[str]:
        """The nodes that packs run on."""
        return set(self._at.values())

    def placed(self, trial_id: str, node: str) -> None:
        """Note where a pack runs."""
        self._at[trial_id] = node

    def on_loss(self) -> None:
        """Take back the packs that wait for others than a node which is all that is left by now.

        What a pack asks for cannot be changed while it waits: its trials are drawn again.
        """
        for pack in self.pending if self.error is None else ():
            live = self._live[pack]
            if not live or set(self._avoids[pack]).issubset(self._avoided(live.values())):
                continue
            self.taken_back.append(pack)
            try:
                for number in live:
                    self._journal.interrupt(number, counts=False)
            except Exception as broken:
                self.error = broken
            live.clear()

    def on_rung(self, trial_id: str, reached: Sequence[TrialResult]) -> list[int] | None:
        """Settle who has ended, compare the others, and give those that leave; None: all have."""
        live = self._live.get(trial_id, {})
        try:
            going_on = [
                result for result in reached if result.number in live and not self._ended(result)
            ]
            for result in going_on:
                self._journal.report(
                    result.number, live[result.number].config, result.rung_uars[-1]
                )
            leaving = [result for result in going_on if not self._journal.keeps(result.number)]
            for result in leaving:
                self._journal.finish(stopped := parts.pruned(result))
                self._count(stopped)
            for result in reached:
                if result not in going_on or result in leaving:
                    live.pop(result.number, None)
        except Exception as broken:
            self.error = broken
            return None
        return [result.number for result in leaving] if live else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Settle a pack's members by their parts; those that have none lost their worker."""
        live, at = self._live.pop(trial_id, {}), self._at.pop(trial_id, None)
        self._avoids.pop(trial_id, None)
        self._holds = (result or {}).get("holds", ())
        if self.error is not None:  # the journal may be what is broken: the next start settles them
            return
        try:
            result = result or {}
            if "full_disk" in result:
                self._bar(result["node"], FullDiskError(result["full_disk"]))
            elif "unreached" in result:
                self._bar(result["node"], FerError(result["unreached"]))
            lost = error and bool(live) and self._lost(at, live)
            for number in live:
                self._settle(number, result, lost=lost)
        except Exception as broken:  # the journal's own disk may be the one that is full
            self.error = self.error or broken

    def _draw(self) -> None:
        """Draw until the next pack has its members; what the space refuses has failed."""
        while self._wanted() > 0 and (
            self._journal.repeats_wait or self._queue.wants_more(self._limit())
        ):
            trial = self._journal.ask()
            try:
                config = self._journal.draw(trial, self._space)
            except ConfigError as error:
                self._journal.finish(result := parts.failed(trial.number, str(error)))
                self._count(result)
            else:
                self._queue.add(self._journal.queued_trial(trial.number, config))

    def _begun(self, trial_id: str, pack: Sequence[QueuedTrial]) -> dict[str, Any]:
        self._live[trial_id] = {drawn.number: drawn for drawn in pack}
        self._journal.start(drawn.number for drawn in pack)
        members = [{"number": d.number, "config_json": d.config.to_json()} for d in pack]
        avoid = self._avoids[trial_id] = self._avoided(pack)
        return {"members": members, "shape": pack[0].shape, "avoid": avoid}

    def _avoided(self, pack: Iterable[QueuedTrial]) -> list[str]:
        return self.nodes.avoided([d.config.to_json() for d in pack]) if self.nodes else []

    def _limit(self) -> int:
        """Say how many members a pack may have for the good of the study."""
        to_come = self._wanted() + len(self._queue)
        share = -(-to_come // (SHARES * self._workers if self._workers > 1 else 1))
        if self._journal.enumerates:
            return max(1, share)
        known = max(BLIND - self._journal.drawn + len(self._queue), self._finished // AHEAD)
        return max(1, min(known, share))

    def _wanted(self) -> int:
        """Say how many trials are still to be drawn."""
        live = sum(map(len, self._live.values()))
        return self._trials - self._finished - live - len(self._queue)

    def _is_full(self) -> bool:
        """Whether the next pack would only wait, and have been drawn too early."""
        shape = self._queue.shape
        if self.room is None or shape is None:
            return False
        packs = filter(None, self._live.values())
        live = sum(next(iter(pack.values())).shape == shape for pack in packs)
        return live > 0 and live >= self.room(shape)

    def _may_start(self) -> bool:
        in_time = self._deadline is None or time.monotonic() < self._deadline
        return in_time and self.error is None

    def _ended(self, result: TrialResult) -> bool:
        """Settle a member that has left its pack by itself."""
        if result.state == "pruned":  # what it is if it goes no further
            return False
        self._tell_journal(result)
        return True

    def _tell_journal(self, result: TrialResult) -> None:
        self._journal.tell(result)
        self._count(result)

    def _lost(self, at: str | None, live: Mapping[int, QueuedTrial]) -> bool:
        """Say whether a pack's worker died with its node; else that may be the node's fault."""
        if self.nodes is None:
            return False
        lost = self.nodes.lost(at)
        if at is not None and not lost:
            self.nodes.died(at, [drawn.config.to_json() for drawn in live.values()])
        return lost

    def _bar(self, node: str, why: FerError) -> None:
        """Send no more packs to a node that cannot run them; where no other can, end the study."""
        known = self.nodes is not None and node in self.nodes.avoided(())
        if self.nodes is None or not self.nodes.bar(node):
            self.error = why
        elif not known:
            self.print(f"no more packs go there: {why}")

    def _settle(self, number: int, report: Mapping[str, Any], *, lost: bool) -> None:
        result = self._journal.folder.result(number)
        if result is not None:
            self._tell_journal(result)
        elif "full_disk" in report or "unreached" in report:
            self._journal.interrupt(number, counts=False)
        elif number in report.get("out_of_memory", ()):
            self._journal.interrupt(number, counts=False, larger=True)
        else:
            self.preempted += lost
            given_up = self._journal.interrupt(number, lost=lost)
            if given_up is not None:
                self._count(given_up)

    def _count(self, result: TrialResult) -> None:
        self._finished += 1
        if result.state != "complete" and result.config_json:  # else its worker has removed them
            self._journal.folder.clear_checkpoints(result.config_json)
        self._on_finish(result)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for `Tuner.restore`, which is never used

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a study is resumed from its journal, never from a Ray experiment."""
