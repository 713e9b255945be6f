"""Run a study's baselines beside its first trials, each once, and open them on the sealed subjects.

Their parts lie beside the trials', under numbers below 0, so nothing of them is lost or repeated.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import ray

from fer_core import baselines
from fer_core.experiment import Experiment
from search.cluster.opening import write_opened
from search.cluster.progress import Progress
from search.cluster.tuner import Share
from search.cluster.worker import finish_alone, keep_to_share
from search.space import describe
from search.study.folder import Folder


def start(
    tasks: Iterable[str], experiment: Experiment, folder: Folder, each: Share
) -> dict[Any, str]:
    """Begin the baselines of these tasks that are not done; `finish` waits for them."""
    shared, chosen = ray.put(experiment), set(tasks)
    run: Any = ray.remote(_run).options(num_cpus=each.cpus, num_gpus=each.head_gpus)
    return {
        run.remote(shared, folder, number, each.threads): f"baseline {name} ({task})"
        for number, (task, name) in baselines.NUMBERS.items()
        if task in chosen and not _done(folder, number, experiment)
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
        progress.say(f"{started[ready]} {said}")


def _done(folder: Folder, number: int, experiment: Experiment) -> bool:
    part = folder.part(number)
    unopened = bool(experiment.protocol.sealed) and not folder.opened(number).exists()
    return part is not None and (part.state == "failed" or not unopened)


def _run(experiment: Experiment, folder: Folder, number: int, threads: int) -> str:
    keep_to_share(threads)
    task, name = baselines.NUMBERS[number]
    experiment = replace(experiment, task=task)
    part = folder.part(number)
    if part is None:
        part = finish_alone(folder, number, baselines.cross_validate(name, experiment))
    if part.state == "failed":
        return f"failed: {part.error}"
    said = f"complete: val_uar {part.val_uar:.3f}"
    if not experiment.protocol.sealed:
        return said
    test_uar = write_opened(folder, number, baselines.open_sealed(name, experiment))
    return f"{said}, test_uar {test_uar:.3f}"
