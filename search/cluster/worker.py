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
from fer_core.data.study_data import StudyData
from fer_core.errors import FerError
from fer_core.trial import packing
from fer_core.trial.rungs import Rung
from fer_core.trial.rungs import rungs as rungs_of
from search.cluster import memory_errors
from search.cluster.reachability import unreached
from search.cluster.trial_record import Account
from search.study import disk
from search.study.folder import Folder
from search.study.parts import TrialResult
from search.study.space import describe

if TYPE_CHECKING:
    from fer_core.trial.evaluate import FoldResult
    from fer_core.trial.pack import AtRung

    PackTraining = Generator[list[AtRung], Collection[int], None]
    # Configs, what they share, threads, and whether they are raced, to how they stand at each rung.
    Begin = Callable[[Sequence[configs.Config], StudyData, int, bool], PackTraining]

_RECENT = 4  # packs whose stages a worker is taken to hold


class ActivePack:
    """Some trials that train together, from their first rung to their parts."""

    def __init__(
        self,
        folder: Folder,
        members: Mapping[int, str],
        training: "PackTraining",
        rungs: Sequence[Rung],
        *,
        largest: str | None = None,
    ) -> None:
        """Run the `members`, configs by number; the race knows them by their place.

        Whoever runs out of memory is `out_of_memory`, and is to be tried again on a larger share;
        on the `largest`, of which this says what it is, they fail.
        """
        self._training, self._rungs, self._largest = training, list(rungs), largest
        self.out_of_memory: list[int] = []
        self._accounts = {
            place: Account(folder, number, config_json)
            for place, (number, config_json) in enumerate(members.items())
        }
        self._leaving: set[int] = set()  # of themselves, which the race does not know yet
        self._reached = 0
        self._since = time.perf_counter()

    def next_rung(self, leaving: Collection[int]) -> tuple[list[TrialResult], bool]:
        """Run to the next rung without those that leave; give who came, and whether all ended.

        Raises: what was wrong where that was a full disk, or the device.
        """
        out = {p for p, account in self._accounts.items() if account.number in leaving}
        for place in out:
            del self._accounts[place]
        try:
            reached = self._advance(out | self._leaving)
        except Exception as error:  # of the race itself, so of all its members
            if disk.is_full(error) or memory_errors.is_device(error):
                raise
            return self._all_failed(error), True
        settled = [self._settled(at_rung) for at_rung in reached]
        found = [result for result in settled if result is not None]
        done = not self._accounts or self._reached == len(self._rungs)
        if done:
            self.close()
        return found, done

    def close(self) -> None:
        """Forget what the race holds, wherever it is."""
        self._training.close()

    def _advance(self, out: set[int]) -> "list[AtRung]":
        reached = self._training.send(out) if self._reached else next(self._training)
        self._reached, self._leaving = self._reached + 1, set()
        now = time.perf_counter()
        for account in self._accounts.values():
            account.seconds += (now - self._since) / len(self._accounts)
        self._since = now
        return [at_rung for at_rung in reached if at_rung.member in self._accounts]

    def _settled(self, at_rung: "AtRung") -> TrialResult | None:
        account, place, error = self._accounts[at_rung.member], at_rung.member, at_rung.error
        last = self._reached == len(self._rungs)
        if error is not None and (disk.is_full(error) or memory_errors.is_device(error)):
            raise error
        if error is not None and memory_errors.is_short(error):
            if self._largest is None:
                self.out_of_memory.append(self._accounts.pop(place).number)
                return None
            error = _too_large(error, self._largest)
        reached = str(self._rungs[self._reached - 1])
        result = account.at_rung(at_rung.results, error, reached=reached, last=last)
        if result.state == "failed" and error is None:
            self._leaving.add(place)
        if result.state != "pruned":
            del self._accounts[place]
        return result

    def _all_failed(self, error: Exception) -> list[TrialResult]:
        accounts = list(self._accounts.values())
        self._accounts.clear()
        if memory_errors.is_short(error):
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
    """Runs `ActivePack`s for Tune; kept from pack to pack, with torch and its caches loaded."""

    def setup(
        self,
        config: dict[str, Any],
        study_data: StudyData | None = None,
        folder: Folder | None = None,
        threads: int = 1,
        raced: bool = False,
        begin: "Begin | None" = None,
    ) -> None:
        assert study_data is not None
        assert folder is not None
        self._study_data, self._folder, self._threads = study_data, folder, threads
        self._raced, self._begin = raced, begin or train_pack
        self._node = ray.get_runtime_context().get_node_id()
        self._recent_stages: deque[list[str]] = deque(maxlen=_RECENT)
        self._run: ActivePack | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last pack and begin the next."""
        self.cleanup()
        members = {each["number"]: each["config_json"] for each in new_config["members"]}
        drawn = list(map(configs.from_json, members.values()))
        self._first = next(iter(members))
        self._recent_stages.append(list(dict.fromkeys(map(packing.stage_key, drawn))))
        training = self._begin(drawn, self._study_data, self._threads, self._raced)
        rungs = rungs_of(len(self._study_data.protocol.folds), raced=self._raced)
        largest = _share() if new_config["shape"] == "larger" else None
        self._run = ActivePack(self._folder, members, training, rungs, largest=largest)
        self._placed = False
        return True

    def step(self) -> dict[str, Any]:
        """Say where the pack is, at once; then run to a rung."""
        assert self._run is not None
        holds = [key for keys in self._recent_stages for key in keys]
        message: dict[str, Any] = {"pack": self._first, "holds": holds}
        if not self._placed:
            self._placed = True
            return message | self._place()
        try:
            found, done = self._run.next_rung(self._folder.take_leaving(self._first))
        except Exception as error:
            if not disk.is_full(error):
                raise
            self._run.close()
            full = f"node {socket.gethostname()}: {disk.said(error)}"
            return message | {"parts": [], "done": True, "node": self._node, "full_disk": full}
        message["out_of_memory"] = self._run.out_of_memory
        return message | {"parts": [result.to_json() for result in found], "done": done}

    def _place(self) -> dict[str, Any]:
        """Say where the pack is, and if it cannot be there, why."""
        placed: dict[str, Any] = {"node": self._node, "parts": [], "done": False}
        if self._begin is train_pack and (why := unreached(self._study_data, self._folder)):
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


def finish_alone(folder: Folder, number: int, results: "Iterator[FoldResult]") -> TrialResult:
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
    from fer_core.machine import make_deterministic  # imports torch: in workers only

    make_deterministic(threads)
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA reads it when it is first used


def train_pack(
    drawn: "Sequence[configs.Config]", study_data: StudyData, threads: int, raced: bool
) -> "PackTraining":
    """Begin only when the first rung is asked for, so that any error is the pack's own."""
    from fer_core.trial import pack  # imports torch: in workers only

    keep_to_share(threads)
    yield from pack.run(drawn, study_data, raced=raced)
