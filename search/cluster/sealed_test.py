"""The sealed test: score the best trial of each family on the subjects that the search never saw.

`search/session.py` calls `score_winners` when all trials have ended. Winners are refitted and
scored in parallel. Each family and task has one sealed test, ever: if a study that is extended
finds a better trial, that one is not tested, because choosing between two tested trials would be a
choice by the sealed subjects.
"""

import json
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import ray

from fer_core import config as configs
from fer_core.data.study_data import StudyData
from fer_core.intervals import with_intervals
from fer_core.storage.files import write_atomically
from fer_core.trial import packing
from search.cluster import memory_errors
from search.cluster.tuner import TrialResources
from search.cluster.worker import keep_to_share
from search.drawing.space import describe
from search.screen.progress import Progress
from search.study.folder import Folder, write_arrays
from search.study.parts import TrialResult

if TYPE_CHECKING:
    from fer_core.trial.results import SealedResult

    # (study's data, folder, trial, its config as JSON, threads) -> test_uar
    Scoring = Callable[[StudyData, Folder, int, str, int], float]

_NONE_SEALED = (
    "this protocol seals no subject, so there is no sealed test: val_uar is the only score, and it "
    "is optimistic, because the search selected trials by it"
)


def score_winners(
    finished: Sequence[TrialResult],
    study_data: StudyData,
    folder: Folder,
    resources: TrialResources,
    progress: Progress,
    *,
    scoring: "Scoring | None" = None,
) -> None:
    """Refit the best trial of each family that has no sealed test yet, and score it.

    A refit that runs out of memory is tried once more on a larger share of a machine, because its
    trial may have needed one too.
    """
    if not study_data.protocol.sealed:
        return progress.print(_NONE_SEALED)
    shared = ray.put(study_data)
    # A new process for each call: one that lives on would keep the memory of its GPU.
    task: Any = ray.remote(max_calls=1)(scoring or _score)

    def start(result: TrialResult, shape: str) -> Any:
        sized = task.options(num_cpus=resources.cpus, num_gpus=resources.gpus_of(shape))
        data = study_data.reseeded(result.seed_offset) if result.seed_offset else shared
        return sized.remote(data, folder, result.number, result.config_json, resources.threads)

    tested = {result.number for result in finished if folder.sealed_test(result.number).exists()}
    chosen = winners(finished, tested)
    if chosen:
        progress.print(_announcement(len(chosen), len(study_data.protocol.sealed)))
    _wait({start(result, _shape(result)): (result, False) for result in chosen}, start, progress)


def _announcement(trials: int, subjects: int) -> str:
    best = (
        "the best trial" if trials == 1 else f"{trials} trials, the best of each family and task,"
    )
    people = "1 subject" if subjects == 1 else f"{subjects} subjects"
    return f"sealed test: scoring {best} on {people} that no trial has seen, once"


def _wait(
    running: dict[Any, tuple[TrialResult, bool]],
    start: Callable[[TrialResult, str], Any],
    progress: Progress,
) -> None:
    """Wait for running sealed tests; each comes with whether it is a second attempt."""
    while running:
        (ready,), _ = ray.wait(list(running))
        result, again = running.pop(ready)
        try:
            outcome = f": test_uar {ray.get(ready):.3f}"
        except Exception as error:  # a refit may fail in any way; the others go on
            cause = getattr(error, "cause", None) or error
            if memory_errors.is_out_of_memory(cause) and not again:
                running[start(result, "larger")] = result, True
                continue
            outcome = f" failed: {describe(cause)}"
        progress.print(f"sealed test of trial {result.number}{outcome}")


def winners(finished: Sequence[TrialResult], tested: Set[int]) -> list[TrialResult]:
    """Choose a winner for each family and task: the complete trial with the highest val_uar.

    Of trials with the same val_uar the first wins. A family that has a trial in `tested` has had
    its sealed test, and gets no other winner.
    """
    best: dict[tuple[str, str | None], TrialResult] = {}
    for result in sorted(finished, key=lambda result: (-(result.val_uar or 0.0), result.number)):
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


def _score(
    study_data: StudyData, folder: Folder, number: int, config_json: str, threads: int
) -> float:
    from fer_core.trial.evaluate import score_sealed  # imports torch: in workers only

    keep_to_share(threads)
    return write_sealed_scores(
        folder, number, score_sealed(configs.from_json(config_json), study_data)
    )


def write_sealed_scores(folder: Folder, number: int, result: "SealedResult") -> float:
    """Write the scores and predictions on the sealed subjects, and give the UAR."""
    arrays = {
        "clips": list(result.clips),
        "subjects": result.subjects,
        "labels": result.labels,
        "probabilities": result.probabilities,
    }
    write_arrays(folder.predictions(number, sealed=True), arrays)
    measured = with_intervals(result.labels, result.probabilities, result.subjects)
    scores = {f"test_{name}": value for name, value in measured.items()} | {
        "test_subjects": len(set(result.subjects)),
        "test_clips": len(result.clips),
    }
    write_atomically(folder.sealed_test(number), json.dumps(scores).encode())
    return result.metrics.uar
