"""Tell the label and the subject of each file of an unlabelled folder from where it lies.

The usual layout is `<label>/<subject>_<anything>.jpg`. If the files lie one folder deeper, the two
folders are the label and the subject, in the order that their names tell: `<subject>/<label>/x.png`
or `<label>/<subject>/x.png`. A single folder around all of this, as a zip file leaves one, is
passed through. With the user's pattern the files may lie at any depth.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.labels import spelled
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, entries
from fer_core.errors import DataError
from fer_core.storage.file_names import MEDIA_SUFFIXES

BOTH = "'^(?P<subject>[^/]+)/(?P<emotion>[^/]+)/'"  # a pattern that finds both
_STRAY = 0.05  # largest share of the files that may lie less deep than the others, by mistake
_MORE_SUBJECTS = 2  # times as many subjects as labels tell which is which
# What the folders of a split are called.
_PARTS = frozenset(
    {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}
    | {"publictest", "privatetest"}
)
# Words for expressions beside those that all datasets share.
_WORDS = frozenset(
    {"afraid", "angry", "calm", "contemptuous", "crying", "disgusted", "fearful", "happy", "joy"}
    | {"joyful", "laughing", "pain", "pleased", "rage", "sad", "scared", "smile", "smiling"}
    | {"surprised", "worried"}
)


@dataclass(frozen=True)
class Layout:
    """Where the labels and the subjects are in the paths, for one sentence."""

    labels: str
    subjects: str


USUAL = Layout("the first folder", "the name up to the first underscore")


def judged(
    root: Path, pattern: re.Pattern[str] | None, *, named_elsewhere: bool = False
) -> tuple[list[tuple[Path, Verdict]], Layout]:
    """Judge every file below a folder by its place, and say how the paths were understood.

    `named_elsewhere` says that a table has the subjects, so that they are not looked for.

    Raises: DataError if two folders around each file do not tell which one is the label.
    """
    found = [(path, why) for path, why in entries(root) if why or not os.path.isdir(path)]
    media = [path for path, why in found if not why and path.suffix.lower() in MEDIA_SUFFIXES]
    top = _top(root, media)
    if pattern is not None or named_elsewhere:
        layout = Layout("the first folder", "the table of subjects")
        if pattern is not None:
            both = subjects.finds_emotion(pattern)
            layout = Layout("the pattern" if both else "the first folder", "the pattern")
        judge = _Anywhere(root, top, pattern)
        return [*_each(root, found, top, judge)], layout
    twofold = _twofold(top, media)
    if twofold is None:
        return [*_each(root, found, top, _Usual(top, mixed=_is_mixed(top, media)))], USUAL
    order, layout = twofold
    return [*_each(root, found, top, _Twofold(top, order))], layout


def _each(
    root: Path,
    found: list[tuple[Path, str | None]],
    top: Path,
    judge: "_Usual | _Twofold | _Anywhere",
) -> Iterator[tuple[Path, Verdict]]:
    for path, unreadable in found:
        is_media = path.suffix.lower() in MEDIA_SUFFIXES
        if unreadable:
            yield path, Faulty(unreadable)
        elif is_media and path.parent != top and top in path.parents:
            yield path, judge(path)
        elif is_media:
            yield path, Ignored("it lies in no folder of a label")


@dataclass(frozen=True)
class _Usual:
    """`<label>/<subject>_<anything>`."""

    top: Path
    mixed: bool  # so many files lie deeper that they are not there by mistake

    def __call__(self, path: Path) -> Verdict:
        if path.parent.parent != self.top:
            why = "it lies deeper than <label>/<subject>_<anything>"
            hint = f"; say what its folders are with --subject-pattern {BOTH}"
            return Faulty(why + hint) if self.mixed else Ignored(why)
        subject, underscore, _ = path.stem.partition("_")
        if not subject or not underscore:
            return Faulty(
                "its name does not begin with a subject and an underscore; name the subjects with "
                "--subjects TABLE or --subject-pattern REGEX"
            )
        return Labels(subject=subject, emotion=path.parent.name)


@dataclass(frozen=True)
class _Twofold:
    """`<subject>/<label>/<anything>` or the other way round."""

    top: Path
    order: tuple[str, str]

    def __call__(self, path: Path) -> Verdict:
        parts = path.relative_to(self.top).parts
        if len(parts) != 3:
            return Faulty(f"it does not lie in <{self.order[0]}>/<{self.order[1]}>/ as the others")
        of = dict(zip(self.order, parts, strict=False))
        return Labels(subject=of["subject"], emotion=of["label"])


@dataclass(frozen=True)
class _Anywhere:
    """`<label>/<anything>/<anything>`; the subject is found otherwise."""

    root: Path
    top: Path
    pattern: re.Pattern[str] | None

    def __call__(self, path: Path) -> Verdict:
        if self.pattern is None or not subjects.finds_emotion(self.pattern):
            return Labels(emotion=path.relative_to(self.top).parts[0])
        emotion = subjects.emotion(self.pattern, path.relative_to(self.root).as_posix())
        return Labels(emotion=emotion) if emotion else Faulty("the pattern finds no emotion in it")


def _top(root: Path, media: list[Path]) -> Path:
    """Pass through a single folder around all others, down to the folders that tell apart."""
    top = root
    while True:
        inside = [path for path in media if top in path.parents and path.parent != top]
        below = {path.relative_to(top).parts[0] for path in inside}
        deeper = sum(len(path.relative_to(top).parts) > 2 for path in inside)
        if len(below) != 1 or 2 * deeper <= len(inside):
            return top
        top = top / next(iter(below))


def _is_mixed(top: Path, media: list[Path]) -> bool:
    """Whether more files than by mistake lie deeper than `<label>/<subject>_<anything>`."""
    depths = [len(path.relative_to(top).parts) for path in media if top in path.parents]
    return sum(depth > 2 for depth in depths) > max(1, _STRAY * len(depths))


def _twofold(top: Path, media: list[Path]) -> tuple[tuple[str, str], Layout] | None:
    """Find out which of the two folders around each file is the label; None if there is but one.

    Raises: DataError if the names do not tell.
    """
    parts = [path.relative_to(top).parts for path in media if top in path.parents]
    pairs = [each[:2] for each in parts if len(each) == 3]
    shallow = sum(len(each) == 2 for each in parts)
    if not pairs or shallow > _STRAY * len(pairs):
        return None
    outer, inner = ({pair[place] for pair in pairs} for place in (0, 1))
    if all(name.lower() in _PARTS for name in outer):
        raise DataError(
            f"{top} is divided into {', '.join(sorted(outer))}, which are parts of a split and no "
            "people; name the subjects with --subjects TABLE, or take each file for a person: "
            "--subject-pattern '^[^/]+/(?P<emotion>[^/]+)/(?P<subject>.+)'."
        )
    first, second = _emotional(outer), _emotional(inner)
    label_first = first > second if first != second else None
    if label_first is None and max(len(outer), len(inner)) >= _MORE_SUBJECTS * min(
        len(outer), len(inner)
    ):
        label_first = len(outer) < len(inner)
    if label_first is None:
        raise DataError(
            f"{top} has files in two folders each, such as {'/'.join(parts[0])}, and their names "
            f"do not tell which one is the subject; say it: --subject-pattern {BOTH}, or emotion "
            "first."
        )
    names = ("the first folder", "the second folder")
    order = ("label", "subject") if label_first else ("subject", "label")
    where: Mapping[str, str] = dict(zip(order, names, strict=True))
    return order, Layout(where["label"], where["subject"])


def _emotional(names: Collection[str]) -> bool:
    """Return whether names of folders are words for expressions: at least half of them are."""
    known = sum(spelled(name) is not None or name.lower() in _WORDS for name in names)
    return 2 * known >= len(names)
