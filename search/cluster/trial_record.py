"""The record of one trial while it trains: what its worker knows, and the files that keep it.

A worker keeps an `Account` for each member of its pack. When the trial ends, the account writes its
result (`parts/`), its predictions (`predictions/`) or, if it failed, the traceback (`failures/`)
into the study's folder.
"""

import math
import socket
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_core.errors import FerError
from fer_core.intervals import with_intervals
from fer_core.scoring import SCORING_VERSION, pooled, score
from fer_core.storage.files import write_atomically
from search.drawing.space import describe
from search.study import disk, parts, provenance
from search.study.folder import Folder, write_arrays
from search.study.parts import State, TrialResult

if TYPE_CHECKING:
    from fer_core.trial.results import FoldResult


class Account:
    """Follows a trial or a baseline from its start to the files that it leaves."""

    def __init__(
        self,
        folder: Folder,
        number: int,
        config_json: str | None,
        params: Mapping[str, Any] | None = None,
        seed_offset: int = 0,
    ) -> None:
        """Follow a trial. `params` are the parameters that the sampler drew for it.

        It trains with a seed that is `seed_offset` above the study's.
        """
        self._params, self._seed_offset = params, seed_offset
        self.number = number
        self.seconds = 0.0  # time that the worker spent on it
        self._folder = folder
        self._config_json = config_json  # None for a baseline
        self._rung_uars: tuple[float, ...] = ()
        self._reached: str | None = None
        self._results: Sequence[FoldResult] = ()
        self._started_at = parts.now()

    def at_rung(
        self,
        results: "Sequence[FoldResult]",
        error: Exception | None,
        *,
        reached: str | None,
        last: bool,
    ) -> TrialResult:
        """Give the result of a trial at a rung, and write it if the trial ends there.

        With an `error`, or a score that is not finite, the trial has failed. A result that is not
        the last has the state "pruned", which it keeps if the trial goes no further.

        Raises: the error itself where a disk is full, which is no fault of the trial.
        """
        self._results = results
        try:
            if error is not None:
                raise error
            _check_finite(results)
        except Exception as broken:  # a trial may fail in any way, and the study goes on
            return self.failed(broken)
        self._reached = reached
        if reached is not None:
            self._rung_uars += (score(*pooled(results)[:2]).uar,)
        if not last:
            return self._result("pruned")
        result = self._result("complete")
        if not self._folder.has_result(self.number):  # else the driver has pruned it meanwhile
            self._write_predictions()
            self._folder.write_result(result)
        return result

    def failed(self, error: Exception) -> TrialResult:
        """Mark the trial as failed: write its result, and the traceback of `error`.

        Raises: the error itself where a disk is full, which is no fault of the trial.
        """
        if disk.is_full(error):
            raise error
        text = "".join(traceback.format_exception(error))
        write_atomically(self._folder.failure(self.number), text.encode())
        message = " ".join(str(error).split()) if isinstance(error, FerError) else describe(error)
        self._results = [result for result in self._results if _is_finite(result)]
        result = self._result("failed", message)
        if not self._folder.has_result(self.number):  # else the driver has pruned it meanwhile
            self._folder.write_result(result)
        return result

    def _result(self, state: State, error: str | None = None) -> TrialResult:
        """Make the trial's result from its folds so far."""
        done, last = self._results, self._results[-1] if self._results else None
        return TrialResult(
            number=self.number,
            state=state,
            config_json=self._config_json,
            params_drawn=self._params,
            seed_offset=self._seed_offset,
            started_at=self._started_at,
            finished_at=parts.now(),
            error=error,
            fold_uars=tuple(result.metrics.uar for result in done),
            rung_uars=self._rung_uars,
            reached=self._reached,
            scoring_version=SCORING_VERSION,
            commit=provenance.commit(),
            versions=provenance.versions(),
            **_scored(done),
            train_seconds=sum(result.train_seconds for result in done),
            seconds=self.seconds,
            epochs_restored=sum(result.epochs_restored for result in done),
            still_improving=any(result.still_improving for result in done),
            folds_extended=sum(result.extended for result in done),
            note=_note(done),
            params=last.params if last else None,
            peak_memory_gib=max(result.peak_memory_gib for result in done) if done else None,
            device=last.device if last else None,
            host=socket.gethostname(),
            weights_source=last.weights_source if last else None,
            work=asdict(last.work) if last else {},
            skipped=dict(last.skipped) if last else {},
            fallback_share=last.fallback_share if last else None,
        )

    def _write_predictions(self) -> None:
        """Keep the scores of all clips, so that votes, ensembles and tests need no new training."""
        arrays: dict[str, Any] = {}
        for result in self._results:
            name = f"fold{result.fold}"
            arrays[f"{name}.clips"] = np.array(result.clips)
            arrays[f"{name}.subjects"] = result.subjects
            arrays[f"{name}.labels"] = result.labels
            arrays[f"{name}.probabilities"] = result.probabilities
            arrays[f"{name}.frame_probabilities"] = result.frame_probabilities
            arrays[f"{name}.losses"] = np.array(result.losses)
        write_arrays(self._folder.predictions(self.number), arrays)


def _scored(done: Sequence["FoldResult"]) -> dict[str, Any]:
    """Score the folds so far together; without any there is nothing to score."""
    if not done:
        return {}
    labels, probabilities, subjects = pooled(done)
    return {
        "val_metrics": with_intervals(labels, probabilities, subjects),
        "subjects": len(np.unique(subjects)),
        "clips": len(labels),
    }


def _note(results: "Sequence[FoldResult]") -> str | None:
    """Join the notes of the folds; where they differ, say of how many folds each is."""
    notes = Counter(result.note for result in results if result.note)
    if list(notes.values()) == [len(results)]:
        return next(iter(notes))
    several = (f"{note} ({count} of {len(results)} folds)" for note, count in notes.items())
    return "; ".join(several) or None


def _check_finite(results: "Sequence[FoldResult]") -> None:
    for result in results:
        if not _is_finite(result):
            raise FerError(f"fold {result.fold}: its loss or one of its scores is not finite.")


def _is_finite(result: "FoldResult") -> bool:
    return all(map(math.isfinite, (*asdict(result.metrics).values(), *result.losses)))
