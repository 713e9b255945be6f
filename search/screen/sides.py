"""Say in lines who is on which side of a split: the subjects, the clips and the classes of each.

`about_subjects` says what else a user should know of the subjects before trusting a score.
`data.prepare` prints the lines when a study starts, and the checkup reports them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from fer_core.data import subjects
from fer_core.data.labels import label
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import Protocol
from search.study.words import counted

FEW_SEALED = 5  # sealed subjects; with fewer, a test says little
_MOST_FOLDS = 10  # folds that get a line each


def lines(split: Protocol, manifest: Manifest, task: str) -> list[str]:
    """Give a line for each side of a split, the sealed one first."""
    clips_of: dict[str, list[Clip]] = {subject: [] for subject in manifest.subjects}
    for clip in manifest.clips:
        clips_of[clip.subject].append(clip)
    sides: dict[str, Sequence[str]] = {"sealed": split.sealed, "train": split.train}
    found = [_line(name, people, clips_of, task) for name, people in sides.items() if people]
    if len(split.folds) > _MOST_FOLDS:
        found.append(_folds_in_one(split.folds, clips_of))
    else:
        numbered = enumerate(split.folds, start=1)
        found += [_line(f"fold {i}", people, clips_of, task) for i, people in numbered]
    if 0 < len(split.sealed) < FEW_SEALED:
        sealed, all_subjects = counted(len(split.sealed), "subject"), len(manifest.subjects)
        found.append(
            f"only {sealed} of {all_subjects} are sealed: the final test will be uncertain"
        )
    return found


def about_subjects(manifest: Manifest) -> list[str]:
    """Say whether the split keeps people apart, if it may not, and name subjects to look at.

    No line if the subjects are persons, and no two have nearly the same name.
    """
    found = []
    if subjects.kind_of_split(manifest) == subjects.BY_CLIP:
        found.append(f"{subjects.BY_CLIP}, not {subjects.SUBJECT_INDEPENDENT}: {by_clip(manifest)}")
    for names in subjects.similar_names(manifest.subjects):
        found.append(f"subjects {same_person(names)}")
    return found


def by_clip(manifest: Manifest) -> str:
    """Say why a split of this dataset is by clips, and what that means."""
    return (
        f"{subjects.lone_share(manifest):.0%} of the clips are the only one of their subject, so "
        "one person may be on several sides"
    )


def same_person(names: Sequence[str]) -> str:
    """Say of subjects with nearly the same name that they may be one person."""
    quoted = " and ".join(f"'{name}'" for name in names)
    return f"{quoted} have nearly the same name; if they are one person, give them one name"


def _line(
    name: str, people: Sequence[str], clips_of: Mapping[str, Sequence[Clip]], task: str
) -> str:
    clips = [clip for subject in people for clip in clips_of.get(subject, ())]
    classes = Counter(label(task, clip.emotion, clip.authenticity) for clip in clips)
    counts = ", ".join(f"{each} {count}" for each, count in sorted(classes.items()))
    return f"{name}: {counted(len(people), 'subject')}, {counted(len(clips), 'clip')} ({counts})"


def _folds_in_one(folds: Sequence[Sequence[str]], clips_of: Mapping[str, Sequence[Clip]]) -> str:
    people = [len(fold) for fold in folds]
    clips = [sum(len(clips_of.get(subject, ())) for subject in fold) for fold in folds]
    return f"{len(folds)} folds: {_range(people, 'subject')} and {_range(clips, 'clip')} each"


def _range(counts: Sequence[int], name: str) -> str:
    low, high = min(counts), max(counts)
    return counted(low, name) if low == high else f"{low} to {high} {name}s"
