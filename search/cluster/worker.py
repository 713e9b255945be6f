"""A long-lived worker, which trains one pack of trials after another, a rung at a time.

Ray Tune starts `PackWorker` on the cluster's machines and drives it; an `ActivePack` is the pack
that it trains. When a member ends, the worker writes its predictions and its result before it
returns the rung at which it ended. Any error inside a trial fails that trial alone: the other
members, the worker and the study go on. A full disk is no trial's fault, and is reported to the
driver instead.
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
from fer_core.machine import free_device_memory
from fer_core.trial import packing
from fer_core.trial.rungs import Rung
from fer_core.trial.rungs import rungs as rungs_of
from search.cluster import memory_errors
from search.cluster.reachability import missing_file_message
from search.cluster.trial_record import Account
from search.drawing.space import describe
from search.study import disk
from search.study.folder import Folder
from search.study.parts import TrialResult

if TYPE_CHECKING:
    from fer_core.trial.pack import AtRung
    from fer_core.trial.results import FoldResult

    PackTraining = Generator[list[AtRung], Collection[int], None]
    # (configs, study's data, threads, whether raced) -> the members' state at each rung
    Begin = Callable[[Sequence[configs.Config], StudyData, int, bool], PackTraining]

_RECENT = 4  # past packs whose stages count as still in the worker's memory


class ActivePack:
    """A pack in training: it goes from rung to rung, and writes the results of members that end."""

    def __init__(
        self,
        folder: Folder,
        members: Mapping[int, str],
        training: "PackTraining",
        rungs: Sequence[Rung],
        *,
        params: Mapping[int, Mapping[str, Any]] | None = None,
        seed_offset: int = 0,
        largest: str | None = None,
    ) -> None:
        """Begin a pack. `members` maps the number of each trial to its config, as JSON.

        `training` counts the same trials from 0, in that order. `params` maps the number of a trial
        to the parameters that the sampler drew for it. All members train with one seed,
        `seed_offset` above the study's.

        Members that run out of memory are listed in `out_of_memory`, to be tried again on a larger
        share of a machine. If this share is already the largest one, `largest` describes it, and
        they fail.
        """
        self._training, self._rungs, self._largest = training, list(rungs), largest
        self.out_of_memory: list[int] = []
        self._accounts = {
            place: Account(folder, number, config_json, (params or {}).get(number), seed_offset)
            for place, (number, config_json) in enumerate(members.items())
        }
        self._leaving: set[int] = set()  # failed members that `training` does not know of yet
        self._reached = 0  # rungs so far
        self._since = time.perf_counter()  # time of the last rung

    def next_rung(self, leaving: Collection[int]) -> tuple[list[TrialResult], bool]:
        """Train to the next rung, without the members that are `leaving`, given by trial number.

        Returns the results of the members that reached it, and whether the pack has ended.

        Raises: the error itself where a disk is full or the device failed.
        """
        out = {p for p, account in self._accounts.items() if account.number in leaving}
        for place in out:
            del self._accounts[place]
        try:
            reached = self._advance(out | self._leaving)
        except Exception as error:  # not of one member, so all of them fail
            if disk.is_full(error) or memory_errors.is_device_failure(error):
                raise
            return self._all_failed(error), True
        settled = [self._settle(at_rung) for at_rung in reached]
        found = [result for result in settled if result is not None]
        done = not self._accounts or self._reached == len(self._rungs)
        if done:
            self.close()
        return found, done

    def close(self) -> None:
        """Stop the training, wherever it is, and free its memory."""
        self._training.close()

    def _advance(self, out: set[int]) -> "list[AtRung]":
        reached = self._training.send(out) if self._reached else next(self._training)
        self._reached, self._leaving = self._reached + 1, set()
        now = time.perf_counter()
        for account in self._accounts.values():
            account.seconds += (now - self._since) / len(self._accounts)
        self._since = now
        return [at_rung for at_rung in reached if at_rung.member in self._accounts]

    def _settle(self, at_rung: "AtRung") -> TrialResult | None:
        """Return a member's result at a rung; None if it is to be tried on a larger share."""
        account, place, error = self._accounts[at_rung.member], at_rung.member, at_rung.error
        last = self._reached == len(self._rungs)
        if error is not None and (disk.is_full(error) or memory_errors.is_device_failure(error)):
            raise error
        if error is not None and memory_errors.is_out_of_memory(error):
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
        if memory_errors.is_out_of_memory(error):
            if self._largest is None:
                self.out_of_memory += [account.number for account in accounts]
                return []
            error = _too_large(error, self._largest)
        return [account.failed(error) for account in accounts]


def _too_large(error: Exception, share: str) -> FerError:
    message = FerError(
        f"out of memory, twice, the second time alone on {share}: {describe(error)[:200]}; "
        "choose a smaller optimizer.batch_clips, or a larger --gpus-per-head or --gpus-per-trial."
    )
    message.__cause__ = error
    return message


class PackWorker(tune.Trainable):
    """Trains packs for Tune; Tune keeps it from pack to pack, with torch and its caches loaded."""

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
        self._active: ActivePack | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Close the last pack and begin the next, which the searcher described."""
        self.cleanup()
        members = {member["number"]: member["config_json"] for member in new_config["members"]}
        drawn = list(map(configs.from_json, members.values()))
        self._first = next(iter(members))
        self._recent_stages.append(list(dict.fromkeys(map(packing.stage_key, drawn))))
        seed_offset = new_config["seed_offset"]
        study_data = self._study_data.reseeded(seed_offset)
        training = self._begin(drawn, study_data, self._threads, self._raced)
        rungs = rungs_of(len(self._study_data.protocol.folds), raced=self._raced)
        largest = _own_share() if new_config["shape"] == "larger" else None
        params = {member["number"]: member["params"] for member in new_config["members"]}
        self._active = ActivePack(
            self._folder,
            members,
            training,
            rungs,
            params=params,
            seed_offset=seed_offset,
            largest=largest,
        )
        self._placed = False
        return True

    def step(self) -> dict[str, Any]:
        """Report where the pack runs, in the first step; in each later one, train to a rung.

        The report goes to the searcher (`search/study/searcher.py`).
        """
        assert self._active is not None
        cached = [key for keys in self._recent_stages for key in keys]
        report: dict[str, Any] = {"pack": self._first, "cached_stages": cached}
        if not self._placed:
            self._placed = True
            return report | self._place()
        try:
            found, done = self._active.next_rung(self._folder.take_leaving(self._first))
        except Exception as error:
            if not disk.is_full(error):
                raise
            self._active.close()
            full = f"node {socket.gethostname()}: {disk.full_disk_message(error)}"
            return report | {"parts": [], "done": True, "node": self._node, "full_disk": full}
        report["out_of_memory"] = self._active.out_of_memory
        return report | {"parts": [result.to_json() for result in found], "done": done}

    def _place(self) -> dict[str, Any]:
        """Report on which node the pack runs, and if it cannot run there, why."""
        placed: dict[str, Any] = {"node": self._node, "parts": [], "done": False}
        trains = self._begin is train_pack  # else the trials need no files: tests, benchmarks
        if trains and (missing := missing_file_message(self._study_data, self._folder)):
            return placed | {"done": True, "missing_file": missing}
        return placed

    def cleanup(self) -> None:
        """Close a pack, which Tune may have stopped between two rungs."""
        if self._active is not None:
            self._active.close()
            if "torch" in sys.modules:
                free_device_memory()  # for other workers on the same device


def _own_share() -> str:
    """Describe what Ray gave to this worker."""
    share = _assigned()
    return f"{share.get('CPU', 0):g} CPUs and {share.get('GPU', 0):g} GPUs"


def _assigned() -> dict[str, float]:
    share: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]  # Ray's
    return share


def finish_alone(folder: Folder, number: int, results: "Iterator[FoldResult]") -> TrialResult:
    """Run a baseline, which is in no pack, through all its folds, and return its result."""
    account, began = Account(folder, number, None), time.perf_counter()
    done: list[FoldResult] = []
    error: Exception | None = None
    try:
        done.extend(results)
    except Exception as broken:  # whatever it is, the study goes on
        error = broken
    account.seconds = time.perf_counter() - began
    return account.at_rung(done, error, reached=None, last=True)


def keep_to_share(threads: int) -> None:
    """Limit torch to the CPUs and GPUs that Ray gave to this worker."""
    # imports torch: in workers only
    from fer_core.machine import keep_to_gpu_share, make_deterministic

    make_deterministic(threads)
    if ray.get_gpu_ids():
        keep_to_gpu_share(_assigned().get("GPU", 1.0))
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA reads it at its first use


def train_pack(
    drawn: "Sequence[configs.Config]", study_data: StudyData, threads: int, raced: bool
) -> "PackTraining":
    """Train a pack from rung to rung.

    Nothing happens before the first rung is asked for, so any error becomes the pack's own.
    """
    from fer_core.trial import pack  # imports torch: in workers only

    keep_to_share(threads)
    yield from pack.train(drawn, study_data, raced=raced)
