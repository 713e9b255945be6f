"""A `Protocol` divides the subjects into those that train, those that validate and sealed ones.

No trial reads the sealed subjects. At the end of a study, its winners are scored on them, once. The
other subjects form folds: each fold validates the models that the other folds train. `check`
refuses a split that leaks, such as one with a subject on two sides. Without a published protocol,
`sealed_and_folds` makes a split with similar shares of each class on all sides. `outer_splits`
makes the splits of a nested study.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import ProtocolError

if TYPE_CHECKING:
    from fer_core.arrays import Array

SEALED_SHARE = 0.2  # share of the subjects that is sealed
FOLDS = 5  # folds of the other subjects


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A subject-independent split. Every subject of the dataset is on exactly one side."""

    name: str
    sealed: tuple[str, ...]  # subjects of the final test; empty if the protocol has no such test
    folds: tuple[tuple[str, ...], ...]  # subjects that choose in each fold; the others train in it
    train: tuple[str, ...] = ()  # subjects that train in every fold and never choose

    @property
    def development(self) -> tuple[str, ...]:
        """All subjects that are not sealed, so that trials may read them; sorted."""
        choosing = (subject for fold in self.folds for subject in fold)
        return tuple(sorted((*choosing, *self.train)))

    @property
    def split_sha256(self) -> str:
        """A hash of who is on which side."""
        sides = [self.sealed, self.folds, self.train]
        return hashlib.sha256(json.dumps(sides).encode()).hexdigest()

    @property
    def protocol_id(self) -> str:
        """The name with a part of the hash; it stands in every row of a leaderboard."""
        return f"{self.name}-{self.split_sha256[:8]}"

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as JSON values."""
        return asdict(self)


def from_json(values: dict[str, Any]) -> Protocol:
    """Read a protocol that `Protocol.to_json` wrote."""
    folds = tuple(tuple(fold) for fold in values["folds"])
    sealed, train = tuple(values["sealed"]), tuple(values["train"])
    return Protocol(name=values["name"], sealed=sealed, folds=folds, train=train)


def sealed_and_folds(
    subjects: Sequence[str], labels: Sequence[str], *, folds: int = FOLDS, seed: int = 0
) -> Protocol:
    """Seal a share of the subjects, and divide the others into folds, by a seeded random draw.

    The sealed subjects are a fifth of all, rounded, and the folds have equal numbers of subjects,
    give or take one. The classes have similar shares on all sides, as far as whole subjects allow.
    `subjects` and `labels` have one item per clip.

    Raises: ProtocolError if there are too few subjects, or too few of one class.
    """
    import numpy as np  # takes 0.1 s: too long for a list of datasets

    from fer_core.data import balanced_split

    people, classes, counts = _counted(subjects, labels)
    needed = folds + round(1 / SEALED_SHARE)
    if len(people) < needed:
        raise ProtocolError(
            f"{len(people)} subjects are too few: at least {needed} are needed, to keep "
            f"{SEALED_SHARE:.0%} for the final test and divide the others into {folds} folds."
        )
    _check_classes(classes, counts, folds)
    rng = np.random.default_rng(seed)
    number = round(SEALED_SHARE * len(people))
    sealed = balanced_split.choose_sealed(counts, number, folds=folds, rng=rng)
    others = people[~sealed]
    fold_of = balanced_split.deal_folds(counts[~sealed], folds, rng=rng)
    return Protocol(
        name=f"sealed{round(100 * SEALED_SHARE)}-cv{folds}",
        sealed=tuple(people[sealed].tolist()),
        folds=tuple(tuple(others[fold_of == fold].tolist()) for fold in range(folds)),
    )


def all_in_folds(
    subjects: Sequence[str], labels: Sequence[str], *, folds: int = FOLDS, seed: int = 0
) -> Protocol:
    """Divide all subjects into folds as `sealed_and_folds` does, and seal nobody.

    A nested study seals each of the folds in turn. `subjects` and `labels` have one item per clip.

    Raises: ProtocolError if there are too few subjects, or too few of one class.
    """
    import numpy as np  # takes 0.1 s: too long for a list of datasets

    from fer_core.data import balanced_split

    people, classes, counts = _counted(subjects, labels)
    if len(people) < folds:
        raise ProtocolError(
            f"{len(people)} subjects are too few: at least {folds} are needed, one for each fold."
        )
    _check_classes(classes, counts, folds - 1)
    fold_of = balanced_split.deal_folds(counts, folds, rng=np.random.default_rng(seed))
    dealt = tuple(tuple(people[fold_of == fold].tolist()) for fold in range(folds))
    return Protocol(name=f"cv{folds}", sealed=(), folds=dealt)


def outer_splits(split: Protocol) -> tuple[Protocol, ...]:
    """Give the splits of a nested study: each seals one fold of `split`, and the others choose.

    If there are more than `FOLDS` others, they are joined to that many folds.

    Raises: ProtocolError if the protocol seals subjects itself, or has fewer than three folds.
    """
    if split.sealed:
        raise ProtocolError(
            f"protocol '{split.name}' seals {len(split.sealed)} subjects itself, so its study "
            "needs no --nested; leave it out."
        )
    if len(split.folds) < 3:
        raise ProtocolError(
            f"protocol '{split.name}' has {len(split.folds)} folds, and --nested needs three: one "
            "is sealed, and two choose."
        )
    made = []
    for place, sealed in enumerate(split.folds):
        others = [fold for other, fold in enumerate(split.folds) if other != place]
        joined = [itertools.chain(*others[i::FOLDS]) for i in range(min(FOLDS, len(others)))]
        made.append(
            Protocol(
                name=f"{split.name}-outer{place + 1}",
                sealed=sealed,
                folds=tuple(map(tuple, joined)),
                train=split.train,
            )
        )
    return tuple(made)


def in_blocks(manifest: Manifest, *, folds: int) -> Protocol:
    """Make folds of subjects with neighbouring names, and seal nobody.

    For example, of 80 subjects in 10 folds, the first eight are the first fold.

    Raises: ProtocolError if there are fewer subjects than folds.
    """
    people = _enough(manifest, folds)
    edges = [i * len(people) // folds for i in range(folds + 1)]
    parts = tuple(tuple(people[a:b]) for a, b in itertools.pairwise(edges))
    return Protocol(name=f"{folds}fold", sealed=(), folds=parts)


def in_turn(manifest: Manifest, *, folds: int) -> Protocol:
    """Deal subjects out to folds like cards, and seal nobody: subject i goes to fold i mod `folds`.

    Subjects are in ascending order.

    Raises: ProtocolError if there are fewer subjects than folds.
    """
    people = _enough(manifest, folds)
    return Protocol(name=f"{folds}fold", sealed=(), folds=_dealt(people, folds))


def leave_one_out(manifest: Manifest) -> Protocol:
    """Make each subject a fold of its own, and seal nobody."""
    folds = tuple((subject,) for subject in ascending(manifest.subjects))
    return Protocol(name="loso", sealed=(), folds=folds)


def official(manifest: Manifest, *, parts: int = 5, folds: int = 5) -> Protocol:
    """Follow the authors' own division: seal their test part, and let their val part choose.

    If they have no val part, their train part is divided into `parts` with equal class shares, and
    the first `folds` of these choose in turn.

    Raises: ProtocolError if the copy lacks the train part or the test part.
    """
    sealed = tuple(dict.fromkeys(clip.subject for clip in manifest.clips if clip.part == "test"))
    choosing = tuple(dict.fromkeys(clip.subject for clip in manifest.clips if clip.part == "val"))
    train = [clip for clip in manifest.clips if clip.part == "train"]
    if not sealed or not train:
        raise ProtocolError(
            f"{manifest.root} lacks the train part or the test part; this protocol needs both."
        )
    train.sort(key=lambda clip: (clip.emotion, clip.clip))
    dealt = _dealt(list(dict.fromkeys(clip.subject for clip in train)), parts)
    made = (choosing,) if choosing else dealt[:folds]
    rest = dealt if choosing else dealt[folds:]
    always = tuple(sorted(subject for part in rest for subject in part))
    return Protocol(name="official", sealed=sealed, folds=made, train=always)


def check(protocol: Protocol, manifest: Manifest) -> None:
    """Refuse a split that leaks; every command calls this before its first trial.

    A leak is a subject on two sides, or clips with equal content and different subjects: these are
    one recording, so one of the two subjects is wrong. They are refused even on the same side.

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
                    "a subject may be on one side only."
                )
            owner[subject] = side
    seen: dict[str, Clip] = {}
    for clip in manifest.clips:
        if clip.subject not in owner:
            raise ProtocolError(
                f"subject '{clip.subject}' is on no side of the split: neither sealed, nor in a "
                "fold, nor in train."
            )
        other = seen.setdefault(clip.sha256, clip)
        if other.subject != clip.subject:
            raise ProtocolError(
                f"clips '{other.clip}' ({owner[other.subject]}) and '{clip.clip}' "
                f"({owner[clip.subject]}) have equal content and different subjects; remove one "
                "of them, or give both the same subject."
            )


def ascending(subjects: Iterable[str]) -> list[str]:
    """Sort subjects by the numbers in their names, so that 10 comes after 9."""

    def parts(name: str) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(subjects, key=parts)


def _counted(subjects: Sequence[str], labels: Sequence[str]) -> tuple["Array", "Array", "Array"]:
    """Give the subjects (S,), the classes (C,) and the clips of each subject and class (S, C)."""
    import numpy as np  # takes 0.1 s: too long for a list of datasets

    people, of_subject = np.unique(subjects, return_inverse=True)
    classes, of_class = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(people), len(classes)), np.int64)
    np.add.at(counts, (of_subject, of_class), 1)
    return people, classes, counts


def _enough(manifest: Manifest, folds: int) -> list[str]:
    """Return the subjects in ascending order; raises ProtocolError if there are too few."""
    people = ascending(manifest.subjects)
    if len(people) < folds:
        raise ProtocolError(
            f"{len(people)} subjects are too few: this protocol needs at least {folds}, one for "
            "each fold; complete the dataset, or choose another --protocol."
        )
    return people


def _dealt(subjects: Sequence[str], folds: int) -> tuple[tuple[str, ...], ...]:
    """Give subject i to fold i mod `folds`."""
    return tuple(tuple(subjects[i::folds]) for i in range(folds))


def _check_classes(classes: "Array", counts: "Array", folds: int) -> None:
    """Refuse clips (subjects, classes) of one class only, or with too few subjects of one class."""
    if len(classes) < 2:
        raise ProtocolError(f"all clips are '{classes[0]}'; a task needs two classes or more.")
    needed = folds + 1
    for name, shown_by in zip(classes, (counts > 0).sum(axis=0), strict=True):
        if shown_by < needed:
            raise ProtocolError(
                f"class '{name}' is shown by {shown_by} subjects only, and {needed} are needed: "
                f"one for the final test and one for each of {folds} folds; leave that class out, "
                "or add subjects."
            )
