"""Open the winners on the sealed subjects: in parallel, and each at most once, ever."""

import json
from collections.abc import Sequence
from typing import Any

import ray

from fer_core import config as configs
from fer_core.experiment import Experiment
from fer_core.store import write_atomically
from search.cluster.progress import Progress
from search.cluster.tuner import Share
from search.cluster.worker import keep_to_share, write_arrays
from search.space import describe
from search.study.folder import Folder
from search.study.parts import Part


def open_winners(
    winners: Sequence[Part],
    experiment: Experiment,
    folder: Folder,
    each: Share,
    progress: Progress,
) -> None:
    """Refit and score the winners that were not opened before; their results go to files."""
    shared = ray.put(experiment)
    task: Any = ray.remote(_open).options(num_cpus=each.cpus, num_gpus=each.gpus)
    waiting: dict[Any, Part] = {}
    for part in winners:
        if not folder.opened(part.number).exists():
            waiting[task.remote(shared, folder, part.number, part.config_json, each.threads)] = part
    if waiting:
        progress.say(f"opening {len(waiting)} winners on the sealed subjects, once")
    while waiting:
        ready, _ = ray.wait(list(waiting))
        part = waiting.pop(ready[0])
        try:
            said = f"test_uar {ray.get(ready[0]):.3f}"
        except Exception as error:  # a refit may fail in any way; the board says what there is
            said = f"could not be opened: {describe(getattr(error, 'cause', None) or error)}"
        progress.say(f"opened trial {part.number}: {said}")


def winners(finished: Sequence[Part]) -> list[Part]:
    """Choose the best complete trial of each family by val_uar; of equals, the first."""
    best: dict[str, Part] = {}
    for part in sorted(finished, key=lambda part: (-(part.val_uar or 0.0), part.number)):
        if part.state == "complete" and part.config_json is not None:
            best.setdefault(configs.from_json(part.config_json).family, part)
    return sorted(best.values(), key=lambda part: part.number)


def _open(
    experiment: Experiment, folder: Folder, number: int, config_json: str, threads: int
) -> float:
    from fer_core.trial import open_sealed  # imports torch: in workers only

    keep_to_share(threads)
    result = open_sealed(configs.from_json(config_json), experiment)
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
    write_atomically(folder.opened(number), json.dumps(scores).encode())
    return result.uar
