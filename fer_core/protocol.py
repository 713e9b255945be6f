"""Which subjects train, which choose, and which stay sealed until the winners are opened.

A subject is never on two sides. A share of the subjects is sealed; the others fall into grouped
folds whose classes are balanced as far as subjects allow (scikit-learn's StratifiedGroupKFold).
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from fer_core.errors import ProtocolError
from fer_core.manifest import Clip, Manifest

SEALED_SHARE = 0.2  # of the subjects
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A subject-independent split: the sealed subjects, and the val subjects of each fold."""

    name: str
    sealed: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]  # val subjects of each fold; the other folds train

    @property
    def development(self) -> tuple[str, ...]:
        """The subjects that train and choose: all that are not sealed."""
        return tuple(sorted(subject for fold in self.folds for subject in fold))

    @property
    def split_sha256(self) -> str:
        return hashlib.sha256(json.dumps([self.sealed, self.folds]).encode()).hexdigest()

    @property
    def protocol_id(self) -> str:
        return f"{self.name}-{self.split_sha256[:8]}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "sealed": self.sealed, "folds": self.folds}


def from_json(values: dict[str, Any]) -> Protocol:
    """Read what `Protocol.to_json` gave."""
    folds = tuple(tuple(fold) for fold in values["folds"])
    return Protocol(name=values["name"], sealed=tuple(values["sealed"]), folds=folds)


def sealed_and_folds(
    subjects: Sequence[str], labels: Sequence[str], *, folds: int = FOLDS, seed: int = 0
) -> Protocol:
    """Seal a share of the subjects and make grouped, stratified folds of the others.

    `subjects` and `labels` hold one item per clip.

    Raises: ProtocolError where there are too few subjects to split.
    """
    groups, classes = np.asarray(subjects), np.asarray(labels)
    count = len(set(subjects))
    needed = folds + round(1 / SEALED_SHARE)
    if count < needed:
        raise ProtocolError(
            f"{count} subjects are too few: {folds} folds and a sealed share of "
            f"{SEALED_SHARE:.0%} need at least {needed}."
        )
    _check_classes(groups, classes, folds)
    sealed = _grouped_folds(groups, classes, round(1 / SEALED_SHARE), seed)[0]
    rest = ~np.isin(groups, sealed)
    parts = _grouped_folds(groups[rest], classes[rest], folds, seed)
    name = f"sealed{round(100 * SEALED_SHARE)}-cv{folds}"
    return Protocol(name=name, sealed=sealed, folds=parts)


def check(protocol: Protocol, manifest: Manifest) -> None:
    """Refuse a split that leaks; called before the first trial.

    Equal content under two subjects is refused wherever they sit: it is one recording, and one of
    the two subjects is wrong.

    Raises: ProtocolError that names the subject or the clips.
    """
    sides = {"sealed": protocol.sealed}
    sides |= {f"fold {i}": fold for i, fold in enumerate(protocol.folds)}
    owner: dict[str, str] = {}
    for side, subjects in sides.items():
        for subject in subjects:
            if subject in owner:
                raise ProtocolError(
                    f"subject '{subject}' is in {owner[subject]} and in {side}; "
                    "a subject belongs to one side only."
                )
            owner[subject] = side
    seen: dict[str, Clip] = {}
    for clip in manifest.clips:
        if clip.subject not in owner:
            raise ProtocolError(f"subject '{clip.subject}' is on no side of the split.")
        other = seen.setdefault(clip.sha256, clip)
        if other.subject != clip.subject:
            raise ProtocolError(
                f"clips '{other.clip}' ({owner[other.subject]}) and '{clip.clip}' "
                f"({owner[clip.subject]}) have equal content and different subjects; remove one "
                "of them, or give both the same subject."
            )


def _check_classes(groups: NDArray[np.str_], classes: NDArray[np.str_], folds: int) -> None:
    names = sorted(set(classes))
    if len(names) < 2:
        raise ProtocolError(f"all clips are '{names[0]}'; a task needs two classes at least.")
    for name in names:
        shown_by = len(set(groups[classes == name]))
        if shown_by < folds:
            raise ProtocolError(
                f"class '{name}' is shown by {shown_by} subjects; {folds} folds need {folds} at "
                "least: leave that class out, or add subjects."
            )


def _grouped_folds(
    groups: NDArray[np.str_], classes: NDArray[np.str_], folds: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a rare class is on the sides that it can be on
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(np.zeros(len(groups)), classes, groups))
    return tuple(tuple(sorted({str(s) for s in groups[val]})) for _, val in splits)
