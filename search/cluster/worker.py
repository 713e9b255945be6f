"""A long-lived worker: it runs one pack of trials after another, a rung at a time.

It writes the predictions and the part of each member that ends before it returns the rung at which
it did, and turns whatever goes wrong inside a trial into a failed trial, so that the others, the
worker and the study go on. A full disk is nobody's fault, and is said to the driver instead.
"""

import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from fer_core import config as configs
from fer_core import packs
from fer_core.errors import FerError
from fer_core.experiment import Experiment
from search.cluster import memory
from search.cluster.account import Account
from search.cluster.reach import unreached
from search.space import describe
from search.study import disk
from search.study.folder import Folder
from search.study.parts import Part

if TYPE_CHECKING:
    from fer_core.race import Standing
    from fer_core.trial import FoldResult

    Standings = Generator[list[Standing], Collection[int], None]
    # Configs, what they share, threads, and whether they are raced, to how they stand at each rung.
    Begin = Callable[[Sequence[configs.Config], Experiment, int, bool], Standings]

_HELD = 4  # packs whose stages a worker is taken to hold


class PackRun:
    """Some trials that train together, from their first rung to their parts."""

    def __init__(
        self,
        folder: Folder,
        members: Mapping[int, str],
        standings: "Standings",
        rungs: Sequence[packs.Rung],
        *,
        largest: str | None = None,
    ) -> None:
        """Run the `members`, configs by number; the race knows them by their place.

        Whoever runs out of memory is `out_of_memory`, and is to be tried again on a larger share;
        on the `largest`, of which this says what it is, they fail.
        """
        self._standings, self._rungs, self._largest = standings, list(rungs), largest
        self.out_of_memory: list[int] = []
        self._accounts = {
            place: Account(folder, number, config_json)
            for place, (number, config_json) in enumerate(members.items())
        }
        self._leaving: set[int] = set()  # of themselves, which the race does not know yet
        self._reached = 0
        self._since = time.perf_counter()

    def next_rung(self, leaving: Collection[int]) -> tuple[list[Part], bool]:
        """Run to the next rung without those that leave; give who came, and whether all ended.

        Raises: what was wrong where that was a full disk, or the device.
        """
        out = {p for p, account in self._accounts.items() if account.number in leaving}
        for place in out:
            del self._accounts[place]
        try:
            reached = self._advance(out | self._leaving)
        except Exception as error:  # of the race itself, so of all its members
            if disk.is_full(error) or memory.is_device(error):
                raise
            return self._all_failed(error), True
        settled = [self._settled(standing) for standing in reached]
        found = [part for part in settled if part is not None]
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

    def _settled(self, standing: "Standing") -> Part | None:
        account, place, error = self._accounts[standing.member], standing.member, standing.error
        last = self._reached == len(self._rungs)
        if error is not None and (disk.is_full(error) or memory.is_device(error)):
            raise error
        if error is not None and memory.is_short(error):
            if self._largest is None:
                self.out_of_memory.append(self._accounts.pop(place).number)
                return None
            error = _too_large(error, self._largest)
        reached = str(self._rungs[self._reached - 1])
        part = account.at_rung(standing.results, error, reached=reached, last=last)
        if part.state == "failed" and error is None:
            self._leaving.add(place)
        if part.state != "pruned":
            del self._accounts[place]
        return part

    def _all_failed(self, error: Exception) -> list[Part]:
        accounts = list(self._accounts.values())
        self._accounts.clear()
        if memory.is_short(error):
            if self._largest is None:
                self.out_of_memory += [account.number for account in accounts]
                return []
            error = _too_large(error, self._largest)
        return [account.failed(error) for account in accounts]


def _too_large(error: Exception, share: str) -> FerError:
    said = FerError(
        f"out of memory, twice, the second time alone on {share}: {describe(error)[:200]}; "
        "draw a smaller optimizer.batch_clips, or give --gpus-per-head or --gpus-per-trial more."
    )
    said.__cause__ = error
    return said


class PackWorker(tune.Trainable):
    """Runs `PackRun`s for Tune; kept from pack to pack, with torch and its caches loaded."""

    def setup(
        self,
        config: dict[str, Any],
        experiment: Experiment | None = None,
        folder: Folder | None = None,
        threads: int = 1,
        raced: bool = False,
        begin: "Begin | None" = None,
    ) -> None:
        assert experiment is not None
        assert folder is not None
        self._experiment, self._folder, self._threads = experiment, folder, threads
        self._raced, self._begin = raced, begin or standings
        self._node = ray.get_runtime_context().get_node_id()
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
        begun = self._begin(drawn, self._experiment, self._threads, self._raced)
        rungs = packs.rungs(len(self._experiment.protocol.folds), raced=self._raced)
        largest = _share() if new_config["shape"] == "larger" else None
        self._run = PackRun(self._folder, members, begun, rungs, largest=largest)
        self._placed = False
        return True

    def step(self) -> dict[str, Any]:
        """Say where the pack is, at once; then run to a rung."""
        assert self._run is not None
        holds = [key for keys in self._held for key in keys]
        told: dict[str, Any] = {"pack": self._first, "holds": holds}
        if not self._placed:
            self._placed = True
            return told | self._place()
        try:
            found, done = self._run.next_rung(self._folder.take_verdict(self._first))
        except Exception as error:
            if not disk.is_full(error):
                raise
            self._run.close()
            full = f"node {socket.gethostname()}: {disk.said(error)}"
            return told | {"parts": [], "done": True, "node": self._node, "full_disk": full}
        told["out_of_memory"] = self._run.out_of_memory
        return told | {"parts": [part.to_json() for part in found], "done": done}

    def _place(self) -> dict[str, Any]:
        """Say where the pack is, and if it cannot be there, why."""
        placed: dict[str, Any] = {"node": self._node, "parts": [], "done": False}
        if self._begin is standings and (why := unreached(self._experiment, self._folder)):
            return placed | {"done": True, "unreached": why}
        return placed

    def cleanup(self) -> None:
        """Let go of a pack that Tune stopped between two rungs."""
        if self._run is not None:
            self._run.close()
            if self._run.out_of_memory and "torch" in sys.modules:
                sys.modules["torch"].cuda.empty_cache()  # for those that share the device


def _share() -> str:
    """Say what Ray gave to this worker."""
    given: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]  # Ray's
    return f"{given.get('CPU', 0):g} CPUs and {given.get('GPU', 0):g} GPUs"


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


def standings(
    drawn: "Sequence[configs.Config]", experiment: Experiment, threads: int, raced: bool
) -> "Standings":
    """Begin only when the first rung is asked for, so that any error is the pack's own."""
    from fer_core import race  # imports torch: in workers only

    keep_to_share(threads)
    yield from race.run(drawn, experiment, raced=raced)
