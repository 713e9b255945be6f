"""Open the winners on the sealed subjects: in parallel, and one of each family and task, ever.

A study that is extended may find a better trial of a family; it stays sealed, since a second look
would choose by the sealed subjects.
"""

import json
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import ray

from fer_core import config as configs
from fer_core.data.study_data import StudyData
from fer_core.storage.files import write_atomically
from fer_core.trial import packing
from search.cluster import memory_errors
from search.cluster.trial_record import write_arrays
from search.cluster.tuner import TrialResources
from search.cluster.worker import keep_to_share
from search.screen.progress import Progress
from search.study.folder import Folder
from search.study.parts import TrialResult
from search.study.space import describe

if TYPE_CHECKING:
    from fer_core.trial.evaluate import SealedResult

    Open = Callable[[StudyData, Folder, int, str, int], float]  # threads last; gives test_uar

_NONE_SEALED = (
    "this protocol seals no subject: val_uar is all that it gives, and optimistic by as much as "
    "the search chose by it"
)


def score_winners(
    finished: Sequence[TrialResult],
    study_data: StudyData,
    folder: Folder,
    each: TrialResources,
    progress: Progress,
    *,
    scoring: "Open | None" = None,
) -> None:
    """Refit and score the best trial of each family that was not opened before.

    What runs out of memory is tried once more, on a larger share: its search may have needed it.
    """
    if not study_data.protocol.sealed:
        return progress.print(_NONE_SEALED)
    shared = ray.put(study_data)
    # A worker that lives on would keep the memory of its GPU.
    task: Any = ray.remote(max_calls=1)(scoring or _open)

    def begin(result: TrialResult, shape: str) -> Any:
        given = task.options(num_cpus=each.cpus, num_gpus=each.gpus_of(shape))
        return given.remote(shared, folder, result.number, result.config_json, each.threads)

    tested = {result.number for result in finished if folder.sealed_test(result.number).exists()}
    chosen = winners(finished, tested)
    if chosen:
        progress.print(f"opening {len(chosen)} winners on the sealed subjects, once")
    _follow({begin(result, _shape(result)): (result, False) for result in chosen}, begin, progress)


def _follow(
    waiting: dict[Any, tuple[TrialResult, bool]],
    begin: Callable[[TrialResult, str], Any],
    progress: Progress,
) -> None:
    """Wait for those that are being opened, each with whether it is again."""
    while waiting:
        (ready,), _ = ray.wait(list(waiting))
        result, again = waiting.pop(ready)
        try:
            said = f"test_uar {ray.get(ready):.3f}"
        except Exception as error:  # a refit may fail in any way; the board says what there is
            cause = getattr(error, "cause", None) or error
            if memory_errors.is_short(cause) and not again:
                waiting[begin(result, "larger")] = result, True
                continue
            said = f"could not be opened: {describe(cause)}"
        progress.print(f"opened trial {result.number}: {said}")


def winners(finished: Sequence[TrialResult], tested: Set[int]) -> list[TrialResult]:
    """Choose the best complete trial of each family and task by val_uar; of equals, the first.

    A family of which a trial was opened has had its winner.
    """
    best: dict[tuple[str, str | None], TrialResult] = {}
    for result in sorted(finished, key=lambda result: (-(result.val_uar or 0.0), result.number)):
        if result.state == "complete":
            best.setdefault(_family(result), result)
    had = {_family(result) for result in finished if result.number in tested}
    chosen = [result for family, result in best.items() if family not in had]
    return sorted(chosen, key=lambda result: result.number)


def _shape(result: TrialResult) -> str:
    """Say what share a trial is searched on."""
    head = result.config_json and packing.is_head(configs.from_json(result.config_json))
    return "head" if head else "whole"


def _family(result: TrialResult) -> tuple[str, str | None]:
    config = configs.from_json(result.config_json) if result.config_json else None
    return (config.family, config.task) if config else ("", None)


def _open(
    study_data: StudyData, folder: Folder, number: int, config_json: str, threads: int
) -> float:
    from fer_core.trial.evaluate import score_sealed  # imports torch: in workers only

    keep_to_share(threads)
    return write_sealed_scores(
        folder, number, score_sealed(configs.from_json(config_json), study_data)
    )


def write_sealed_scores(folder: Folder, number: int, result: "SealedResult") -> float:
    """Keep the scores of sealed subjects, and give their UAR."""
    arrays = {
        "clips": list(result.clip_names),
        "labels": result.labels,
        "probabilities": result.probabilities,
    }
    write_arrays(folder.predictions(number, sealed=True), arrays)
    scores = {
        "test_uar": result.uar,
        "test_uar_low": result.uar_low,
        "test_uar_high": result.uar_high,
        "test_war": result.war,
        "test_macro_f1": result.macro_f1,
        "test_subjects": result.subjects,
        "test_clips": result.clips,
    }
    write_atomically(folder.sealed_test(number), json.dumps(scores).encode())
    return result.uar
