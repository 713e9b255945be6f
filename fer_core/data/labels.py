"""The names of the emotions, and the three tasks that a dataset's labels can be read as.

Adapters translate the codes and spellings of their dataset to these names, so that all datasets
share one vocabulary. The task of a study (emotion, authenticity or hidden) then decides what the
classes are. The dataset `folder` alone takes its labels as they are written.
"""

from collections.abc import Sequence
from typing import Literal

from fer_core.config import TASKS
from fer_core.errors import DataError, unknown

Authenticity = Literal["genuine", "acted"]

AUTHENTICITIES: tuple[Authenticity, ...] = ("genuine", "acted")
EMOTIONS = (
    "neutral",
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
)
SPELLINGS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}  # folder name: emotion
LETTERS = {  # code in the file names of KDEF and JAFFE: emotion
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}


def label(task: str, emotion: str, authenticity: str | None) -> str:
    """Return the class of a clip in a task.

    The classes of task `hidden` are pairs of emotion and authenticity; SASE-FE has 12 of them.

    Raises: DataError if there is no such task, or the clip has no authenticity and the task needs
        it.
    """
    if task == "emotion":
        return emotion
    if task not in TASKS:
        raise DataError(unknown("task", task, TASKS))
    if authenticity is None:
        raise DataError(
            f"task '{task}' needs clips that are labelled genuine or acted, and this dataset does "
            "not label them so; use --task emotion."
        )
    return authenticity if task == "authenticity" else f"{emotion}_{authenticity}"


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that occur, in alphabetical order, which is the order of the logits."""
    return tuple(sorted(set(labels)))


def codes(names: str, *, start: int = 0) -> dict[str, str]:
    """Number the emotions in a text as a dataset does: "anger fear" gives 0: anger, 1: fear."""
    return {str(code): name for code, name in enumerate(names.split(), start)}


def spelled(word: str) -> str | None:
    """Return the emotion that a word names, in any case; None if it names none."""
    name = SPELLINGS.get(word.lower(), word.lower())
    return name if name in EMOTIONS else None
