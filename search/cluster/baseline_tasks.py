"""Run a study's baselines beside its first trials, each once, with their sealed tests.

`search/session/` starts them before the first trial and waits for them after the last. Their
results lie in `parts/` beside those of the trials, under numbers below 0, so a resumed study runs
only what is missing.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import ray

from fer_core.data.study_data import StudyData
from fer_core.trial import baselines
from search.cluster.sealed_test import write_sealed_scores
from search.cluster.tuner import TrialResources
from search.cluster.worker import finish_alone, keep_to_share
from search.drawing.space import describe
from search.screen.progress import Progress
from search.study.folder import Folder


def start(
    tasks: Iterable[str],
    study_data: StudyData,
    folder: Folder,
    resources: TrialResources,
    *,
    scoring: Callable[..., str] | None = None,
) -> dict[Any, str]:
    """Start the baselines of these tasks that are not done; give Ray's references and their names.

    They hold no GPU: their models are fitted on the CPU, where the face network takes 5 ms a frame,
    less than finding the face took. `scoring` may replace the scoring. `finish` waits for them.
    """
    shared, chosen = ray.put(study_data), set(tasks)
    score: Any = ray.remote(scoring or _score).options(num_cpus=resources.cpus, num_gpus=0)
    return {
        score.remote(shared, folder, number, resources.threads): f"baseline {name} ({task})"
        for number, (task, name) in baselines.NUMBERS.items()
        if task in chosen and not _done(folder, number, study_data)
    }


def finish(started: dict[Any, str], progress: Progress) -> None:
    """Wait for the baselines, and print the outcome of each."""
    waiting = list(started)
    while waiting:
        (ready,), waiting = ray.wait(waiting)
        try:
            outcome = ray.get(ready)
        except Exception as error:  # its worker died, or its sealed test failed
            outcome = f"failed: {describe(getattr(error, 'cause', None) or error)}"
        progress.print(f"{started[ready]} {outcome}")


def _done(folder: Folder, number: int, study_data: StudyData) -> bool:
    result = folder.result(number)
    untested = bool(study_data.protocol.sealed) and not folder.sealed_test(number).exists()
    return result is not None and (result.state == "failed" or not untested)


def _score(study_data: StudyData, folder: Folder, number: int, threads: int) -> str:
    """Score a baseline on the folds and on the sealed subjects, and say how it came out."""
    keep_to_share(threads)
    task, name = baselines.NUMBERS[number]
    study_data = replace(study_data, task=task)
    result = folder.result(number)
    if result is None:
        result = finish_alone(folder, number, baselines.cross_validate(name, study_data))
    if result.state == "failed":
        return f"failed: {result.error}"
    outcome = f"complete: val_uar {result.val_uar:.3f}"
    if study_data.protocol.sealed:
        test_uar = write_sealed_scores(folder, number, baselines.score_sealed(name, study_data))
        outcome += f", test_uar {test_uar:.3f}"
    return f"{outcome}, {result.note}" if result.note else outcome
