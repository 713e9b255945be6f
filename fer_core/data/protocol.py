"""Which subjects train, which choose, and which stay sealed until the winners are opened.

A subject is never on two sides. A share of the subjects is sealed; the others fall into grouped
folds whose classes are balanced as far as subjects allow (scikit-learn's StratifiedGroupKFold; its
StratifiedKFold, which is a hundred times as fast, where each subject has one clip).
"""

import hashlib
import itertools
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import ProtocolError

SEALED_SHARE = 0.2  # of the subjects
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A subject-independent split: the sealed subjects, and the val subjects of each fold."""

    name: str
    sealed: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]  # val subjects of each fold; the other folds train
    train: tuple[str, ...] = ()  # subjects that train in every fold and never choose

    @property
    def development(self) -> tuple[str, ...]:
        """The subjects that train and choose: all that are not sealed."""
        choosing = (subject for fold in self.folds for subject in fold)
        return tuple(sorted((*choosing, *self.train)))

    @property
    def split_sha256(self) -> str:
        sides = [self.sealed, self.folds, self.train]
        return hashlib.sha256(json.dumps(sides).encode()).hexdigest()

    @property
    def protocol_id(self) -> str:
        return f"{self.name}-{self.split_sha256[:8]}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(values: dict[str, Any]) -> Protocol:
    """Read what `Protocol.to_json` gave."""
    folds = tuple(tuple(fold) for fold in values["folds"])
    sealed, train = tuple(values["sealed"]), tuple(values["train"])
    return Protocol(name=values["name"], sealed=sealed, folds=folds, train=train)


def sealed_and_folds(
    subjects: Sequence[str], labels: Sequence[str], *, folds: int = FOLDS, seed: int = 0
) -> Protocol:
    """Seal a share of the subjects and make grouped, stratified folds of the others.

    `subjects` and `labels` hold one item per clip.

    Raises: ProtocolError where there are too few subjects to split.
    """
    shown = list(zip(subjects, labels, strict=True))
    count = len(set(subjects))
    needed = folds + round(1 / SEALED_SHARE)
    if count < needed:
        raise ProtocolError(
            f"{count} subjects are too few: {folds} folds and a sealed share of "
            f"{SEALED_SHARE:.0%} need at least {needed}."
        )
    _check_classes(shown, folds)
    sealed = _grouped_folds(shown, round(1 / SEALED_SHARE), seed)[0]
    kept = set(subjects).difference(sealed)
    rest = [pair for pair in shown if pair[0] in kept]
    parts = _grouped_folds(rest, folds, seed)
    name = f"sealed{round(100 * SEALED_SHARE)}-cv{folds}"
    return Protocol(name=name, sealed=sealed, folds=parts)


def in_blocks(manifest: Manifest, *, folds: int) -> Protocol:
    """Make folds of neighbours: of 80 subjects in 10 folds the first eight are the first fold."""
    people = _enough(manifest, folds)
    edges = [i * len(people) // folds for i in range(folds + 1)]
    parts = tuple(tuple(people[a:b]) for a, b in itertools.pairwise(edges))
    return Protocol(name=f"{folds}fold", sealed=(), folds=parts)


def in_turn(manifest: Manifest, *, folds: int) -> Protocol:
    """Deal subjects out to folds: subject i, in ascending order, goes to fold i mod `folds`."""
    people = _enough(manifest, folds)
    return Protocol(name=f"{folds}fold", sealed=(), folds=_dealt(people, folds))


def leave_one_out(manifest: Manifest) -> Protocol:
    """Make each subject a fold."""
    folds = tuple((subject,) for subject in ascending(manifest.subjects))
    return Protocol(name="loso", sealed=(), folds=folds)


def official(manifest: Manifest, *, parts: int = 5, folds: int = 5) -> Protocol:
    """Follow the authors' division: their test part is sealed, their val part chooses.

    Where they give no val part, their train part is dealt out into `parts` of equal class shares,
    of which the first `folds` choose in turn.
    """
    sealed = tuple(clip.subject for clip in manifest.clips if clip.part == "test")
    choosing = tuple(clip.subject for clip in manifest.clips if clip.part == "val")
    train = [clip for clip in manifest.clips if clip.part == "train"]
    if not sealed or not train:
        raise ProtocolError(f"{manifest.root} does not hold both the train and the test part.")
    train.sort(key=lambda clip: (clip.emotion, clip.clip))
    dealt = _dealt([clip.subject for clip in train], parts)
    made = (choosing,) if choosing else dealt[:folds]
    rest = dealt if choosing else dealt[folds:]
    always = tuple(sorted(subject for part in rest for subject in part))
    return Protocol(name="official", sealed=sealed, folds=made, train=always)


def check(protocol: Protocol, manifest: Manifest) -> None:
    """Refuse a split that leaks; called before the first trial.

    Equal content under two subjects is refused wherever they sit: it is one recording, and one of
    the two subjects is wrong.

    Raises: ProtocolError that names the subject or the clips.
    """
    sides = {"sealed": protocol.sealed, "train": protocol.train}
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


def ascending(subjects: Iterable[str]) -> list[str]:
    """Order by the numbers in the names, so that 10 comes after 9."""

    def parts(name: str) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(subjects, key=parts)


def _enough(manifest: Manifest, folds: int) -> list[str]:
    people = ascending(manifest.subjects)
    if len(people) < folds:
        raise ProtocolError(f"{len(people)} subjects are too few for the protocol's {folds} folds.")
    return people


def _dealt(subjects: Sequence[str], folds: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(subjects[i::folds]) for i in range(folds))


def _check_classes(shown: Sequence[tuple[str, str]], folds: int) -> None:
    people = defaultdict(set)
    for subject, name in shown:
        people[name].add(subject)
    if len(people) < 2:
        raise ProtocolError(f"all clips are '{shown[0][1]}'; a task needs two classes at least.")
    for name, subjects in sorted(people.items()):
        if len(subjects) < folds:
            raise ProtocolError(
                f"class '{name}' is shown by {len(subjects)} subjects; {folds} folds need {folds} "
                "at least: leave that class out, or add subjects."
            )


def _grouped_folds(
    shown: Sequence[tuple[str, str]], folds: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # 1 s: only here

    subjects, labels = zip(*shown, strict=True)
    alone = len(set(subjects)) == len(subjects)
    kind = StratifiedKFold if alone else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a rare class is on the sides that it can be on
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(subjects, labels, None if alone else subjects))
    return tuple(tuple(sorted({subjects[row] for row in val})) for _, val in splits)
