"""A long-lived worker: it runs one pack of trials after another, a rung at a time.

It writes the predictions and the part of each member that ends before it returns the rung at which
it did, and turns whatever goes wrong inside a trial into a failed trial, so that the others, the
worker and the study go on. A full disk is nobody's fault, and is said to the driver instead.
"""

import os
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from fer_core import config as configs
from fer_core import packs
from fer_core.experiment import Experiment
from search.cluster.account import Account
from search.study import disk
from search.study.folder import Folder
from search.study.parts import Part

if TYPE_CHECKING:
    from fer_core.race import Standing
    from fer_core.trial import FoldResult

    Standings = Generator[list[Standing], Collection[int], None]

_HELD = 4  # packs whose stages a worker is taken to hold


class PackRun:
    """Some trials that train together, from their first rung to their parts."""

    def __init__(
        self,
        folder: Folder,
        members: Mapping[int, str],
        standings: "Standings",
        rungs: Sequence[packs.Rung],
    ) -> None:
        """Run the `members`, configs by number; the race knows them by their place."""
        self._standings, self._rungs = standings, list(rungs)
        self._accounts = {
            place: Account(folder, number, config_json)
            for place, (number, config_json) in enumerate(members.items())
        }
        self._leaving: set[int] = set()  # of themselves, which the race does not know yet
        self._reached = 0
        self._since = time.perf_counter()

    def next_rung(self, leaving: Collection[int]) -> tuple[list[Part], bool]:
        """Run to the next rung without those that leave; give who came, and whether all ended.

        Raises: what was wrong where that was a full disk.
        """
        out = {p for p, account in self._accounts.items() if account.number in leaving}
        for place in out:
            del self._accounts[place]
        try:
            reached = self._advance(out | self._leaving)
        except Exception as error:  # of the race itself, so of all its members
            if disk.is_full(error):
                raise
            return self._all_failed(error), True
        found = [self._settled(standing) for standing in reached]
        done = not self._accounts or self._reached == len(self._rungs)
        if done:
            self.close()
        return found, done

    def close(self) -> None:
        """Forget what the race holds, wherever it is."""
        self._standings.close()

    def _advance(self, out: set[int]) -> "list[Standing]":
        reached = self._standings.send(out) if self._reached else next(self._standings)
        self._reached, self._leaving = self._reached + 1, set()
        now = time.perf_counter()
        for account in self._accounts.values():
            account.seconds += (now - self._since) / len(self._accounts)
        self._since = now
        return [standing for standing in reached if standing.member in self._accounts]

    def _settled(self, standing: "Standing") -> Part:
        account, place = self._accounts[standing.member], standing.member
        last = self._reached == len(self._rungs)
        if standing.error is not None and disk.is_full(standing.error):
            raise standing.error
        reached = str(self._rungs[self._reached - 1])
        part = account.at_rung(standing.results, standing.error, reached=reached, last=last)
        if part.state == "failed" and standing.error is None:
            self._leaving.add(place)
        if part.state != "pruned":
            del self._accounts[place]
        return part

    def _all_failed(self, error: Exception) -> list[Part]:
        found = [account.failed(error) for account in self._accounts.values()]
        self._accounts.clear()
        return found


class PackWorker(tune.Trainable):
    """Runs `PackRun`s for Tune; kept from pack to pack, with torch and its caches loaded."""

    def setup(
        self,
        config: dict[str, Any],
        experiment: Experiment | None = None,
        folder: Folder | None = None,
        threads: int = 1,
        raced: bool = False,
    ) -> None:
        assert experiment is not None
        assert folder is not None
        self._experiment, self._folder, self._threads = experiment, folder, threads
        self._raced = raced
        self._held: deque[list[str]] = deque(maxlen=_HELD)
        self._run: PackRun | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last pack and begin the next."""
        self.cleanup()
        members = {each["number"]: each["config_json"] for each in new_config["members"]}
        drawn = list(map(configs.from_json, members.values()))
        self._first = next(iter(members))
        self._held.append(list(dict.fromkeys(map(packs.stage_key, drawn))))
        standings = _standings(drawn, self._experiment, self._threads, raced=self._raced)
        rungs = packs.rungs(len(self._experiment.protocol.folds), raced=self._raced)
        self._run = PackRun(self._folder, members, standings, rungs)
        return True

    def step(self) -> dict[str, Any]:
        assert self._run is not None
        holds = [key for keys in self._held for key in keys]
        told: dict[str, Any] = {"pack": self._first, "holds": holds}
        try:
            found, done = self._run.next_rung(self._folder.take_verdict(self._first))
        except Exception as error:
            if not disk.is_full(error):
                raise
            self._run.close()
            return told | {"parts": [], "done": True, "full_disk": disk.said(error)}
        return told | {"parts": [part.to_json() for part in found], "done": done}

    def cleanup(self) -> None:
        """Let go of a pack that Tune stopped between two rungs."""
        if self._run is not None:
            self._run.close()


def finish_alone(folder: Folder, number: int, results: "Iterator[FoldResult]") -> Part:
    """Run what is no member of a pack through all its folds, and give its part."""
    account, began = Account(folder, number, None), time.perf_counter()
    done: list[FoldResult] = []
    error: Exception | None = None
    try:
        done.extend(results)
    except Exception as broken:  # it may fail in any way, and the study goes on
        error = broken
    account.seconds = time.perf_counter() - began
    return account.at_rung(done, error, reached=None, last=True)


def keep_to_share(threads: int) -> None:
    """Let torch use the CPUs and GPUs that Ray gave to this worker, and no others."""
    from fer_core.repeatable import settle  # imports torch: in workers only

    settle(threads)
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA reads it when it is first used


def _standings(
    drawn: "Sequence[configs.Config]", experiment: Experiment, threads: int, *, raced: bool
) -> "Standings":
    """Begin only when the first rung is asked for, so that any error is the pack's own."""
    from fer_core import race  # imports torch: in workers only

    keep_to_share(threads)
    yield from race.run(drawn, experiment, raced=raced)
