"""The vocabulary of emotions, and the three tasks that a dataset's labels can be read as."""

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
SPELLINGS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}  # of folders, in lower case
LETTERS = {  # of file names, in KDEF and JAFFE
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
    """Name the class of a clip; `hidden` is emotion x authenticity, 12 classes in SASE-FE."""
    if task == "emotion":
        return emotion
    if task not in TASKS:
        raise DataError(unknown("task", task, TASKS))
    if authenticity is None:
        raise DataError(
            f"task '{task}' needs genuine and acted clips, and this dataset does not say which is "
            "which; use --task emotion."
        )
    return authenticity if task == "authenticity" else f"{emotion}_{authenticity}"


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """List the classes that occur, in alphabetical order, which is the order of the logits."""
    return tuple(sorted(set(labels)))


def codes(names: str, *, start: int = 0) -> dict[str, str]:
    """Number emotions, which stand in one text, as a dataset does."""
    return {str(code): name for code, name in enumerate(names.split(), start)}


def spelled(word: str) -> str | None:
    """Read the name of an emotion in any case; None where it is none."""
    name = SPELLINGS.get(word.lower(), word.lower())
    return name if name in EMOTIONS else None
