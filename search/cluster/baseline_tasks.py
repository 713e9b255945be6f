"""Run a study's baselines beside its first trials, each once, and open them on the sealed subjects.

Their parts lie beside the trials', under numbers below 0, so nothing of them is lost or repeated.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import ray

from fer_core.data.study_data import StudyData
from fer_core.trial import baselines
from search.cluster.sealed_test import write_sealed_scores
from search.cluster.tuner import TrialResources
from search.cluster.worker import finish_alone, keep_to_share
from search.screen.progress import Progress
from search.study.folder import Folder
from search.study.space import describe


def start(
    tasks: Iterable[str], study_data: StudyData, folder: Folder, each: TrialResources
) -> dict[Any, str]:
    """Begin the baselines of these tasks that are not done; `finish` waits for them."""
    shared, chosen = ray.put(study_data), set(tasks)
    run: Any = ray.remote(_run).options(num_cpus=each.cpus, num_gpus=each.head_gpus)
    return {
        run.remote(shared, folder, number, each.threads): f"baseline {name} ({task})"
        for number, (task, name) in baselines.NUMBERS.items()
        if task in chosen and not _done(folder, number, study_data)
    }


def finish(started: dict[Any, str], progress: Progress) -> None:
    """Wait for the baselines, and say how they came out."""
    waiting = list(started)
    while waiting:
        (ready,), waiting = ray.wait(waiting)
        try:
            said = ray.get(ready)
        except Exception as error:  # its worker died, or it could not be opened
            said = f"lost: {describe(getattr(error, 'cause', None) or error)}"
        progress.print(f"{started[ready]} {said}")


def _done(folder: Folder, number: int, study_data: StudyData) -> bool:
    result = folder.result(number)
    untested = bool(study_data.protocol.sealed) and not folder.sealed_test(number).exists()
    return result is not None and (result.state == "failed" or not untested)


def _run(study_data: StudyData, folder: Folder, number: int, threads: int) -> str:
    keep_to_share(threads)
    task, name = baselines.NUMBERS[number]
    study_data = replace(study_data, task=task)
    result = folder.result(number)
    if result is None:
        result = finish_alone(folder, number, baselines.cross_validate(name, study_data))
    if result.state == "failed":
        return f"failed: {result.error}"
    said = f"complete: val_uar {result.val_uar:.3f}"
    if not study_data.protocol.sealed:
        return said
    test_uar = write_sealed_scores(folder, number, baselines.score_sealed(name, study_data))
    return f"{said}, test_uar {test_uar:.3f}"
