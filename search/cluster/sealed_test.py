"""The sealed test: score the best trial of each family on the subjects that the search never saw.

Only the headline's score is shown (`headlines.py`); those of the others are compared with it.

`search/session/` calls `score_winners` when all trials have ended. Winners are refitted and
scored in parallel. Each family and task has one sealed test, ever: if a study that is extended
finds a better trial, that one is not tested, because choosing between two tested trials would be a
choice by the sealed subjects.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import ray

from fer_core import config as configs
from fer_core.data.study_data import StudyData
from fer_core.intervals import with_intervals
from fer_core.storage.files import write_atomically
from fer_core.trial import packing
from search.cluster import memory_errors
from search.cluster.headlines import announcement, headlines_of, untested
from search.cluster.tuner import TrialResources
from search.cluster.worker import keep_to_share
from search.drawing.space import describe
from search.results import ledger
from search.screen.progress import Progress
from search.study.folder import Folder, Record, write_arrays
from search.study.parts import TrialResult
from search.study.words import counted

if TYPE_CHECKING:
    from fer_core.trial.results import SealedResult

    # (study's data, folder, trial, its config as JSON, threads, what it is of) -> test_uar
    Scoring = Callable[[StudyData, Folder, int, str, int, "Opening"], float]

_NONE_SEALED = (
    "this protocol seals no subject, so there is no sealed test: val_uar is the only score, and it "
    "is optimistic, because the search selected trials by it (--nested gives an unbiased score)"
)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a sealed test is of, beside its trial."""

    headline: int | None = None  # the trial whose score is shown, of the same task
    repeats: int = 1  # training seeds with which the trial is refitted and scored
    opened_before: int | None = None  # other studies that had tested some of the subjects


def score_winners(
    finished: Sequence[TrialResult],
    study_data: StudyData,
    folder: Folder,
    resources: TrialResources,
    progress: Progress,
    *,
    best_only: bool = False,
    on_opening: Callable[[], None] = lambda: None,
    scoring: "Scoring | None" = None,
) -> None:
    """Refit the best trial of each family that has no sealed test yet, and score it.

    With `best_only`, as in each search of a nested study, only the headlines are scored. A refit
    that runs out of memory is tried once more on a larger share of a machine. `on_opening` is
    called before the first test begins.
    """
    if not study_data.protocol.sealed:
        return progress.print(_NONE_SEALED)
    headlines = headlines_of(finished, folder, study_data.task)
    chosen = _chosen(finished, folder, set(headlines.values()), best_only=best_only)
    if not chosen:
        return None
    progress.print_all((_announcement(chosen, study_data), *announcement(headlines)))
    opening = _opening(folder.record(), progress, nested=best_only)
    on_opening()
    shared = ray.put(study_data)
    # A new process for each call: one that lives on would keep the memory of its GPU.
    task: Any = ray.remote(max_calls=1)(scoring or _score)

    def start(result: TrialResult, shape: str) -> Any:
        sized = task.options(num_cpus=resources.cpus, num_gpus=resources.gpus_of(shape))
        own = replace(opening, headline=headlines[_task(result, study_data.task)])
        data = study_data.reseeded(result.seed_offset) if result.seed_offset else shared
        return sized.remote(data, folder, result.number, result.config_json, resources.threads, own)

    running = {start(result, _shape(result)): (result, False) for result in chosen}
    _wait(running, start, progress, shown=headlines.values())
    progress.print_all(untested(headlines, folder))
    return None


def _chosen(
    finished: Sequence[TrialResult], folder: Folder, headlines: Set[int], *, best_only: bool
) -> list[TrialResult]:
    """Choose the trials that have their sealed test now."""
    tested = {result.number for result in finished if folder.sealed_test(result.number).exists()}
    chosen = winners(finished, tested, headlines)
    return [result for result in chosen if result.number in headlines or not best_only]


def _opening(record: Record, progress: Progress, *, nested: bool) -> Opening:
    """Say what other studies did with the sealed subjects; a nested study has said it before."""
    if nested:
        return Opening(repeats=record.repeats)
    known = ledger.read(record)
    progress.print_all(known.lines())
    return Opening(repeats=record.repeats, opened_before=known.opened_before)


def _announcement(chosen: Sequence[TrialResult], study_data: StudyData) -> str:
    trials, subjects = len(chosen), len(study_data.protocol.sealed)
    best = (
        "the best trial" if trials == 1 else f"{trials} trials, the best of each family and task,"
    )
    people = counted(subjects, "subject")
    return f"sealed test: scoring {best} on {people} that no trial of this study has seen, once"


def _wait(
    running: dict[Any, tuple[TrialResult, bool]],
    start: Callable[[TrialResult, str], Any],
    progress: Progress,
    *,
    shown: Collection[int],
) -> None:
    """Wait for running sealed tests; each comes with whether it is a second attempt.

    Only of the trials `shown` the score is printed.
    """
    while running:
        (ready,), _ = ray.wait(list(running))
        result, again = running.pop(ready)
        try:
            test_uar = ray.get(ready)
            outcome = f": test_uar {test_uar:.3f}" if result.number in shown else " is done"
        except Exception as error:  # a refit may fail in any way; the others go on
            cause = getattr(error, "cause", None) or error
            if memory_errors.is_out_of_memory(cause) and not again:
                running[start(result, "larger")] = result, True
                continue
            outcome = f" failed: {describe(cause)}"
        progress.print(f"sealed test of trial {result.number}{outcome}")


def winners(
    finished: Sequence[TrialResult], tested: Set[int], headlines: Set[int] = frozenset()
) -> list[TrialResult]:
    """Choose a winner for each family and task: the complete trial with the highest val_uar.

    Of trials with the same val_uar the first wins. A headline wins its family: it was the best one
    when it was chosen, and a sealed test that failed is tried again when the study is resumed. A
    family that has a trial in `tested` has had its sealed test, and gets no other winner.
    """
    best: dict[tuple[str, str | None], TrialResult] = {}
    by_val = sorted(finished, key=lambda result: (-(result.val_uar or 0.0), result.number))
    for result in sorted(by_val, key=lambda result: result.number not in headlines):
        if result.state == "complete":
            best.setdefault(_family(result), result)
    had = {_family(result) for result in finished if result.number in tested}
    chosen = [result for family, result in best.items() if family not in had]
    return sorted(chosen, key=lambda result: result.number)


def _shape(result: TrialResult) -> str:
    """Name the share of a machine on which the trial was searched."""
    head = result.config_json and packing.is_head(configs.from_json(result.config_json))
    return "head" if head else "whole"


def _family(result: TrialResult) -> tuple[str, str | None]:
    config = configs.from_json(result.config_json) if result.config_json else None
    return (config.family, config.task) if config else ("", None)


def _task(result: TrialResult, study_task: str) -> str:
    return _family(result)[1] or study_task


def _score(
    study_data: StudyData,
    folder: Folder,
    number: int,
    config_json: str,
    threads: int,
    opening: Opening,
) -> float:
    from fer_core.trial.evaluate import score_sealed  # imports torch: in workers only

    keep_to_share(threads)
    config = configs.from_json(config_json)
    results = [
        score_sealed(config, replace(study_data, seed=_seed(study_data.seed, repeat)))
        for repeat in range(opening.repeats)
    ]
    return write_sealed_scores(
        folder,
        number,
        results[0],
        repeats=results[1:],
        headline=opening.headline,
        opened_before=opening.opened_before,
    )


def _seed(seed: int, repeat: int) -> int:
    """Give the training seed of a refit: the study's own for the first one."""
    digest = hashlib.sha256(f"{seed} repeat {repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "little") if repeat else seed


def _write_predictions(folder: Folder, number: int, result: "SealedResult", repeat: int) -> None:
    arrays = {
        "clips": list(result.clips),
        "subjects": result.subjects,
        "labels": result.labels,
        "probabilities": result.probabilities,
    }
    write_arrays(folder.predictions(number, sealed=True, repeat=repeat), arrays)


def write_sealed_scores(
    folder: Folder,
    number: int,
    result: "SealedResult",
    *,
    repeats: Sequence["SealedResult"] = (),
    headline: int | None = None,
    opened_before: int | None = None,
) -> float:
    """Write the scores and predictions on the sealed subjects, and give the UAR.

    `repeats` are the results of the same config with other seeds. `headline` is the trial with
    which the board compares this one, and `opened_before` is how many other studies had tested some
    of the subjects. Both are None for a baseline, whose score is shown.
    """
    results = [result, *repeats]
    for repeat, each in enumerate(results):
        _write_predictions(folder, number, each, repeat)
    measured = with_intervals(result.labels, result.probabilities, result.subjects)
    scores: dict[str, Any] = {f"test_{name}": value for name, value in measured.items()} | {
        "test_subjects": len(set(result.subjects)),
        "test_clips": len(result.clips),
        "opened_before": opened_before,
    }
    if headline is not None:
        scores |= {"headline": headline, "test_repeats": len(results)}
    if repeats:
        uars = [each.metrics.uar for each in results]
        scores |= {"test_uar_mean": fmean(uars), "test_uar_std": stdev(uars)}
    write_atomically(folder.sealed_test(number), json.dumps(scores).encode())
    return result.metrics.uar
