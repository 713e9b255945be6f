"""A long-lived worker: it runs one trial after another, a fold at a time.

It writes a trial's predictions and part before it returns the last result, and turns whatever goes
wrong inside a trial into a failed trial, so that the worker and the study go on.
"""

import io
import math
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray import tune

from fer_core import config as configs
from fer_core.errors import FerError
from fer_core.experiment import Experiment
from fer_core.store import write_atomically
from search.space import describe
from search.study import parts
from search.study.folder import Folder
from search.study.parts import Part, State

if TYPE_CHECKING:
    from fer_core.trial import FoldResult


class TrialRun:
    """One trial, from its first fold to its part."""

    def __init__(
        self,
        folder: Folder,
        number: int,
        config_json: str | None,  # None of a baseline
        *,
        results: "Iterator[FoldResult]",
        folds: int,
    ) -> None:
        self._folder = folder
        self._number = number
        self._config_json = config_json
        self._results = results
        self._folds = folds
        self._done: list[FoldResult] = []
        self._started_at = parts.now()

    def next_fold(self) -> tuple[Part, bool]:
        """Run a fold; give the trial so far, and whether it has ended (its part is written)."""
        try:
            self._done.append(_finite(next(self._results)))
        except Exception as error:  # a trial may fail in any way, and the study goes on
            return self._failed(error), True
        if len(self._done) < self._folds:
            return self._part("pruned"), False  # what it is if nobody asks for the next fold
        self._write_predictions()
        part = self._part("complete")
        self._folder.write_part(part)
        return part, True

    def _failed(self, error: Exception) -> Part:
        text = "".join(traceback.format_exception(error))
        write_atomically(self._folder.failure(self._number), text.encode())
        said = " ".join(str(error).split()) if isinstance(error, FerError) else describe(error)
        part = self._part("failed", said)
        self._folder.write_part(part)
        return part

    def _part(self, state: State, error: str | None = None) -> Part:
        """Sum up the folds so far."""
        done, last = self._done, self._done[-1] if self._done else None
        return Part(
            number=self._number,
            state=state,
            config_json=self._config_json,
            started_at=self._started_at,
            finished_at=parts.now(),
            error=error,
            fold_uars=tuple(result.uar for result in done),
            val_war=fmean(result.war for result in done) if done else None,
            val_macro_f1=fmean(result.macro_f1 for result in done) if done else None,
            train_seconds=sum(result.train_seconds for result in done),
            params=last.params if last else None,
            peak_memory_gib=max(result.peak_memory_gib for result in done) if done else None,
            device=last.device if last else None,
            weights_source=last.weights_source if last else None,
            work=asdict(last.work) if last else {},
            skipped=dict(last.skipped) if last else {},
        )

    def _write_predictions(self) -> None:
        """Keep what voting, ensembles and tests need, so that none of them trains again."""
        arrays: dict[str, Any] = {}
        for result in self._done:
            name = f"fold{result.fold}"
            arrays[f"{name}.clips"] = np.array(result.clips)
            arrays[f"{name}.labels"] = result.labels
            arrays[f"{name}.probabilities"] = result.probabilities
            arrays[f"{name}.frame_probabilities"] = result.frame_probabilities
            arrays[f"{name}.losses"] = np.array(result.losses)
        write_arrays(self._folder.predictions(self._number), arrays)


class TrialWorker(tune.Trainable):
    """Runs `TrialRun`s for Tune; kept from trial to trial, with torch and its caches loaded."""

    def setup(
        self,
        config: dict[str, Any],
        experiment: Experiment | None = None,
        folder: Folder | None = None,
        threads: int = 1,
    ) -> None:
        assert experiment is not None
        assert folder is not None
        self._experiment, self._folder, self._threads = experiment, folder, threads
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and begin the next."""
        self._run = TrialRun(
            self._folder,
            new_config["number"],
            new_config["config_json"],
            results=_results(new_config["config_json"], self._experiment, self._threads),
            folds=len(self._experiment.protocol.folds),
        )
        return True

    def step(self) -> dict[str, Any]:
        part, ended = self._run.next_fold()
        return {"part": part.to_json(), "done": ended}


def write_arrays(path: Any, arrays: dict[str, Any]) -> None:
    """Write an .npz file as a whole."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def keep_to_share(threads: int) -> None:
    """Let torch use the CPUs and GPUs that Ray gave to this worker, and no others."""
    from fer_core.repeatable import settle  # imports torch: in workers only

    settle(threads)
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA reads it when it is first used


def _results(config_json: str, experiment: Experiment, threads: int) -> "Iterator[FoldResult]":
    """Begin only when the first fold is asked for, so that any error is the trial's own."""
    from fer_core.trial import cross_validate  # imports torch: in workers only

    keep_to_share(threads)
    yield from cross_validate(configs.from_json(config_json), experiment)


def _finite(result: "FoldResult") -> "FoldResult":
    scores: Sequence[float] = (result.uar, result.war, result.macro_f1, *result.losses)
    if not all(map(math.isfinite, scores)):
        raise FerError(f"fold {result.fold}: its loss or score is not finite.")
    return result
