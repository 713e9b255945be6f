"""The searcher: it gives Ray Tune the next trials to run, and settles those that come back.

It puts Optuna's ask and tell behind Tune's `Searcher` interface. What Tune calls a trial is here a
*pack*: drawn trials, its members, that train together on one worker. `search/session/` makes the
searcher, and `search/cluster/tuner.py` runs it. We do not use Tune's own `OptunaSearch`, because it
loses finished trials when the driver is killed, tells Optuna that stopped trials are complete, and
leaves failed ones running for ever (measured with Ray 2.60 and Optuna 5.0).
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from fer_core.config import Config
from fer_core.errors import ConfigError, FerError
from search.drawing.redraws import Reasons, RedrawnError
from search.drawing.space import Space
from search.study import parts
from search.study.disk import FullDiskError
from search.study.journal import Journal
from search.study.parts import TrialResult
from search.study.queue import Queue, QueuedTrial

BLIND = 10  # TPE makes its first draws at random, so these need no results
AHEAD = 4  # later, finished trials for each member of a pack: larger packs draw with fewer results
SHARES = 2  # a pack gets at most 1 / (SHARES * workers) of the trials to come: no worker stays idle


class Nodes(Protocol):
    """What the searcher needs to know about the cluster's machines; a node is named by Ray's id."""

    def is_lost(self, node: str | None) -> bool:
        """Return whether the node is gone. With None (unknown node): whether any went lately."""

    def note_death(self, node: str, config_jsons: Collection[str]) -> None:
        """Note that a worker died while its node lived on, and which configs it ran."""

    def exclude(self, node: str) -> bool:
        """Use a node no more from now on; return whether another one can take its place."""

    def to_avoid(self, config_jsons: Collection[str]) -> list[str]:
        """List the nodes that a pack of these configs should not run on."""


class StudySearcher(Searcher):
    """Draws trials until the study has the number that was asked for, or its time is up."""

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
        """Start no new trial after `deadline`, on the clock of `time.monotonic`.

        `most_members` gives the best size of a pack of configs like one; `on_finish` is called with
        the result of each trial that has ended, and `workers` is how many packs run at once.
        """
        super().__init__()
        # What ends the study; raised inside a callback, Tune would blame the pack for it.
        self.error: Exception | None = None
        self.nodes: Nodes | None = None  # None: nodes are not watched, and never lost
        self.errors: dict[str, str] = {}  # what a worker raised outside its trials, by Tune's id
        self.preempted = 0  # trials whose node was lost under them
        # How many packs of a shape the cluster can run at once; None: Tune itself limits them.
        self.most_packs: Callable[[str], int] | None = None
        self.print: Callable[[str], None] = lambda text: None  # shows the user a line
        self._journal = journal
        self._space = space
        self._trials = trials
        self._deadline = deadline
        self._on_finish = on_finish
        self._workers = workers
        self._finished = len(journal.finished_numbers())
        self._queue = Queue(most_members)
        self._reasons = Reasons()  # why draws were no trials
        self._live: dict[str, dict[int, QueuedTrial]] = {}  # members that still train, by pack
        self._node_of: dict[str, str] = {}  # the node that runs a pack, by pack
        self._avoids: dict[str, list[str]] = {}  # nodes that a pack must not run on, by pack
        self.taken_back: list[str] = []  # waiting packs that the scheduler is to stop
        # Stages in the memory of the worker whose pack ended last; Tune reuses that worker next.
        self._cached_stages: Collection[str] = ()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Give Tune the next pack; None while packs run whose trials may have to be repeated."""
        if self._may_start():
            self._draw()
            if self._is_full():
                return None
            pack = self._queue.take(self._cached_stages, self._limit())
            if pack:
                return self._start(trial_id, pack)
        finished: Any = Searcher.FINISHED  # a string, though Ray's annotation says otherwise
        return None if self._live else finished

    @property
    def pending(self) -> Collection[str]:
        """Packs that wait for a node, or for their worker to start."""
        return self._live.keys() - self._node_of.keys()

    @property
    def busy(self) -> Collection[str]:
        """Nodes on which a pack runs."""
        return set(self._node_of.values())

    def placed(self, trial_id: str, node: str) -> None:
        """Note on which node a pack runs."""
        self._node_of[trial_id] = node

    def on_loss(self) -> None:
        """Cancel packs that are waiting to avoid a node when no other node is left.

        Tune cannot change what a waiting pack asks for, so its trials are queued again instead.
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
        """Settle members that ended, and compare the others with earlier trials at this rung.

        Returns the members that must leave the pack, or None if no member is left in it.
        """
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
        """Settle the members of a pack that ended, from their results; repeat those without one."""
        live, node = self._live.pop(trial_id, {}), self._node_of.pop(trial_id, None)
        self._avoids.pop(trial_id, None)
        report = result or {"raised": self.errors.pop(trial_id, None)}  # without one it died
        self._cached_stages = report.get("cached_stages", ())
        if self.error is not None:  # perhaps of the journal itself: the next driver settles them
            return
        try:
            if "full_disk" in report:
                self._exclude(report["node"], FullDiskError(report["full_disk"]))
            elif "missing_file" in report:
                self._exclude(report["node"], FerError(report["missing_file"]))
            lost = error and bool(live) and self._lost(node, live)
            for number in live:
                self._settle(number, report, lost=lost)
        except Exception as broken:  # the full disk may be the one that the journal is on
            self.error = self.error or broken

    def _draw(self) -> None:
        """Draw trials until the next pack has its members; where the space fails, the trial has."""
        while self._wanted() > 0 and (
            self._journal.repeats_waiting or self._queue.wants_more(self._limit())
        ):
            trial = self._journal.ask()
            try:
                config = self._journal.draw(trial, self._space)
            except RedrawnError as redrawn:
                self._reasons.tell(redrawn, self.print)
            except ConfigError as error:
                self._journal.finish(result := parts.failed(trial.number, str(error)))
                self._count(result)
            else:
                self._queue.add(self._journal.queued_trial(trial.number, config))

    def _start(self, trial_id: str, pack: Sequence[QueuedTrial]) -> dict[str, Any]:
        """Note that a pack starts, and describe it for Tune and the worker."""
        self._live[trial_id] = {trial.number: trial for trial in pack}
        self._journal.start(trial.number for trial in pack)
        members = [
            {"number": t.number, "config_json": t.config.to_json(), "params": t.params}
            for t in pack
        ]
        seed_offset = pack[0].seed_offset  # of all its members
        avoid = self._avoids[trial_id] = self._avoided(pack)
        shape = pack[0].shape
        return {"members": members, "shape": shape, "avoid": avoid, "seed_offset": seed_offset}

    def _avoided(self, pack: Iterable[QueuedTrial]) -> list[str]:
        return self.nodes.to_avoid([t.config.to_json() for t in pack]) if self.nodes else []

    def _limit(self) -> int:
        """Return how many members a pack may have, given the workers and the results so far."""
        to_come = self._wanted() + len(self._queue)
        share = -(-to_come // (SHARES * self._workers if self._workers > 1 else 1))
        if self._journal.draws.enumerates:
            return max(1, share)
        blind = BLIND - self._journal.draws.kept + len(self._queue)
        known = max(blind, self._finished // AHEAD)
        return max(1, min(known, share))

    def _wanted(self) -> int:
        """Return how many trials are still to be drawn."""
        live = sum(map(len, self._live.values()))
        return self._journal.possible(self._trials - self._finished - live - len(self._queue))

    def _is_full(self) -> bool:
        """Return whether the next pack would only wait, and so be drawn earlier than need be."""
        shape = self._queue.shape
        if self.most_packs is None or shape is None:
            return False
        packs = filter(None, self._live.values())
        live = sum(next(iter(pack.values())).shape == shape for pack in packs)
        return live > 0 and live >= self.most_packs(shape)

    def _may_start(self) -> bool:
        in_time = self._deadline is None or time.monotonic() < self._deadline
        return in_time and self.error is None

    def _ended(self, result: TrialResult) -> bool:
        """Settle a member if it completed or failed, and return whether it did."""
        if result.state == "pruned":  # the state of every member that has rungs before it
            return False
        self._tell_journal(result)
        return True

    def _tell_journal(self, result: TrialResult) -> None:
        self._journal.tell(result)
        self._count(result)

    def _lost(self, node: str | None, live: Mapping[int, QueuedTrial]) -> bool:
        """Return whether a pack's worker died with its node.

        If only the worker died, the node may be at fault, and its death is counted there.
        """
        if self.nodes is None:
            return False
        lost = self.nodes.is_lost(node)
        if node is not None and not lost:
            self.nodes.note_death(node, [trial.config.to_json() for trial in live.values()])
        return lost

    def _exclude(self, node: str, reason: FerError) -> None:
        """Send no more packs to a node that cannot run them; end the study if no other can."""
        known = self.nodes is not None and node in self.nodes.to_avoid(())
        if self.nodes is None or not self.nodes.exclude(node):
            self.error = reason
        elif not known:
            self.print(f"no more trials go to this node: {reason}")

    def _settle(self, number: int, report: Mapping[str, Any], *, lost: bool) -> None:
        """Settle a member of a pack that ended: by its result, else by why it has none."""
        result = self._journal.folder.result(number)
        if result is not None:
            self._tell_journal(result)
        elif "full_disk" in report or "missing_file" in report:
            self._journal.interrupt(number, counts=False)
        elif number in report.get("out_of_memory", ()):
            self._journal.interrupt(number, counts=False, larger=True)
        else:
            self.preempted += lost
            failed = self._journal.interrupt(number, lost=lost, error=report.get("raised"))
            if failed is not None:
                self._count(failed)

    def _count(self, result: TrialResult) -> None:
        self._finished += 1
        if result.state != "complete" and result.config_json:  # a complete trial removed its own
            self._journal.folder.clear_checkpoints(result.config_json)
        self._on_finish(result)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the searcher for `Tuner.restore`, which we never call

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a study resumes from its journal, never from Tune's experiment."""
