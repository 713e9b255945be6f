"""Open the winners on the sealed subjects: in parallel, and one of each family and task, ever.

A study that is extended may find a better trial of a family; it stays sealed, since a second look
would choose by the sealed subjects.
"""

import json
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import ray

from fer_core import config as configs
from fer_core import packs
from fer_core.experiment import Experiment
from fer_core.store import write_atomically
from search.cluster import memory
from search.cluster.account import write_arrays
from search.cluster.progress import Progress
from search.cluster.tuner import Share
from search.cluster.worker import keep_to_share
from search.space import describe
from search.study.folder import Folder
from search.study.parts import Part

if TYPE_CHECKING:
    from fer_core.trial import SealedResult

    Open = Callable[[Experiment, Folder, int, str, int], float]  # threads last; gives test_uar

_NONE_SEALED = (
    "this protocol seals no subject: val_uar is all that it gives, and optimistic by as much as "
    "the search chose by it"
)


def open_winners(
    finished: Sequence[Part],
    experiment: Experiment,
    folder: Folder,
    each: Share,
    progress: Progress,
    *,
    opening: "Open | None" = None,
) -> None:
    """Refit and score the best trial of each family that was not opened before.

    What runs out of memory is tried once more, on a larger share: its search may have needed it.
    """
    if not experiment.protocol.sealed:
        return progress.say(_NONE_SEALED)
    shared = ray.put(experiment)
    # A worker that lives on would keep the memory of its GPU.
    task: Any = ray.remote(max_calls=1)(opening or _open)

    def begin(part: Part, shape: str) -> Any:
        given = task.options(num_cpus=each.cpus, num_gpus=each.gpus_of(shape))
        return given.remote(shared, folder, part.number, part.config_json, each.threads)

    opened = {part.number for part in finished if folder.opened(part.number).exists()}
    chosen = winners(finished, opened)
    if chosen:
        progress.say(f"opening {len(chosen)} winners on the sealed subjects, once")
    _follow({begin(part, _shape(part)): (part, False) for part in chosen}, begin, progress)


def _follow(
    waiting: dict[Any, tuple[Part, bool]], begin: Callable[[Part, str], Any], progress: Progress
) -> None:
    """Wait for those that are being opened, each with whether it is again."""
    while waiting:
        (ready,), _ = ray.wait(list(waiting))
        part, again = waiting.pop(ready)
        try:
            said = f"test_uar {ray.get(ready):.3f}"
        except Exception as error:  # a refit may fail in any way; the board says what there is
            cause = getattr(error, "cause", None) or error
            if memory.is_short(cause) and not again:
                waiting[begin(part, "larger")] = part, True
                continue
            said = f"could not be opened: {describe(cause)}"
        progress.say(f"opened trial {part.number}: {said}")


def winners(finished: Sequence[Part], opened: Set[int]) -> list[Part]:
    """Choose the best complete trial of each family and task by val_uar; of equals, the first.

    A family of which a trial was opened has had its winner.
    """
    best: dict[tuple[str, str | None], Part] = {}
    for part in sorted(finished, key=lambda part: (-(part.val_uar or 0.0), part.number)):
        if part.state == "complete":
            best.setdefault(_family(part), part)
    had = {_family(part) for part in finished if part.number in opened}
    chosen = [part for family, part in best.items() if family not in had]
    return sorted(chosen, key=lambda part: part.number)


def _shape(part: Part) -> str:
    """Say what share a trial is searched on."""
    head = part.config_json and packs.is_head(configs.from_json(part.config_json))
    return "head" if head else "whole"


def _family(part: Part) -> tuple[str, str | None]:
    config = configs.from_json(part.config_json) if part.config_json else None
    return (config.family, config.task) if config else ("", None)


def _open(
    experiment: Experiment, folder: Folder, number: int, config_json: str, threads: int
) -> float:
    from fer_core.trial import open_sealed  # imports torch: in workers only

    keep_to_share(threads)
    return write_opened(folder, number, open_sealed(configs.from_json(config_json), experiment))


def write_opened(folder: Folder, number: int, result: "SealedResult") -> float:
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
    write_atomically(folder.opened(number), json.dumps(scores).encode())
    return result.uar
