"""`Protocol`: which subjects train, which choose between trials, and which stay sealed.

The sealed subjects are tested once, at the end of a study, and only by the winners; no trial reads
them. The other subjects are divided into folds, each of which chooses while the others train. A
subject is never on two sides, and `check` refuses a split that leaks. Without a published protocol,
`sealed_and_folds` makes a split with similar shares of each class on all sides.
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

    The classes have similar shares on all sides, as far as whole subjects allow. `subjects` and
    `labels` have one item per clip.

    Raises: ProtocolError if there are too few subjects, or too few of one class.
    """
    shown = list(zip(subjects, labels, strict=True))
    count = len(set(subjects))
    needed = folds + round(1 / SEALED_SHARE)
    if count < needed:
        raise ProtocolError(
            f"{count} subjects are too few: at least {needed} are needed, to keep "
            f"{SEALED_SHARE:.0%} for the final test and divide the others into {folds} folds."
        )
    _check_classes(shown, folds)
    sealed = _grouped_folds(shown, round(1 / SEALED_SHARE), seed)[0]
    kept = set(subjects).difference(sealed)
    rest = [pair for pair in shown if pair[0] in kept]
    parts = _grouped_folds(rest, folds, seed)
    name = f"sealed{round(100 * SEALED_SHARE)}-cv{folds}"
    return Protocol(name=name, sealed=sealed, folds=parts)


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


def _check_classes(shown: Sequence[tuple[str, str]], folds: int) -> None:
    """Refuse clips (subject, class) of one class only, or too few subjects for the folds."""
    people = defaultdict(set)
    for subject, name in shown:
        people[name].add(subject)
    if len(people) < 2:
        raise ProtocolError(f"all clips are '{shown[0][1]}'; a task needs two classes or more.")
    for name, subjects in sorted(people.items()):
        if len(subjects) < folds:
            raise ProtocolError(
                f"class '{name}' is shown by {len(subjects)} subjects only, and {folds} folds need "
                f"at least {folds}; leave that class out, or add subjects."
            )


def _grouped_folds(
    shown: Sequence[tuple[str, str]], folds: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Divide the subjects of clips (subject, class) into folds with similar class shares.

    If each subject has one clip, StratifiedKFold does the same as StratifiedGroupKFold, a hundred
    times as fast.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes 1 s to import

    subjects, labels = zip(*shown, strict=True)
    one_clip_each = len(set(subjects)) == len(subjects)
    kind = StratifiedKFold if one_clip_each else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # such a class is in fewer folds, which is fine
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(subjects, labels, None if one_clip_each else subjects))
    return tuple(tuple(sorted({subjects[row] for row in val})) for _, val in splits)
