"""Say what the subjects of a dataset are: persons, or merely single clips; and who may be whom.

A split keeps subjects apart. It keeps persons apart only if the subjects are persons, so every
score is shown with the `kind_of_split`. `similar_names` finds subjects that may be one person under
two spellings, and `pattern` reads the user's own rule for the names of files.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from fer_core.data.manifest import Manifest
from fer_core.errors import FerError

SUBJECT_INDEPENDENT, BY_CLIP = "subject-independent", "by-clip"
# A split is "by-clip" if at least this share of the clips are the only ones of their subjects.
# Where nobody knows the people it is 1. Where people are known it stays far below, even if many of
# them have one photograph: in LFW it is 0.31 (4,069 of 13,233; Huang et al. 2007).
LONE_SHARE = 0.9
FOLDER = "folder"  # the dataset whose subjects the user's own files name
_EXAMPLE = r"'(Subj\d+)_'"


def lone_share(manifest: Manifest) -> float:
    """Give the share of the clips that are the only clip of their subject, from 0 to 1."""
    clips_of = Counter(clip.subject for clip in manifest.clips)
    return sum(count == 1 for count in clips_of.values()) / len(manifest.clips)


def kind_of_split(manifest: Manifest) -> str:
    """Say whether a split of these subjects keeps people apart: SUBJECT_INDEPENDENT or BY_CLIP.

    It is the same for every split of the dataset, since each keeps subjects whole.
    """
    return BY_CLIP if lone_share(manifest) >= LONE_SHARE else SUBJECT_INDEPENDENT


def similar_names(subjects: Iterable[str]) -> list[tuple[str, ...]]:
    """Find subjects whose names differ only in case, leading zeros, blanks, hyphens or underscores.

    Gives a sorted tuple for each group of two names or more.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(subjects)):
        groups[_plain(name)].append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def pattern(text: str, dataset: str) -> re.Pattern[str]:
    """Read the pattern that finds the subject in the path of a file; see `found`.

    Raises: FerError if it is no regular expression, or has no group, or if the dataset says itself
        who its subjects are.
    """
    if dataset != FOLDER:
        raise FerError(
            f"--subject-pattern is for the dataset '{FOLDER}' only; '{dataset}' has its own rule."
        )
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise FerError(
            f"--subject-pattern '{text}' is no regular expression: {error}; an example is "
            f"{_EXAMPLE}."
        ) from error
    if not compiled.groups:
        raise FerError(
            f"--subject-pattern '{text}' has no group; put the part that is the subject into "
            f"round brackets, as in {_EXAMPLE}."
        )
    if finds_emotion(compiled) and "subject" not in compiled.groupindex:
        raise FerError(
            f"--subject-pattern '{text}' has a group 'emotion' and no group 'subject'; name both, "
            "as in '(?P<subject>[^/]+)/(?P<emotion>[^/]+)/'."
        )
    return compiled


def finds_emotion(compiled: re.Pattern[str]) -> bool:
    """Return whether a pattern finds the label as well: it has a group `emotion`."""
    return "emotion" in compiled.groupindex


def emotion(compiled: re.Pattern[str], path: str) -> str | None:
    """Find the label in a path: what the group `emotion` matches; None if it matches nothing."""
    match = compiled.search(path)
    return (match["emotion"] or None) if match else None


def found(compiled: re.Pattern[str], path: str) -> str | None:
    """Find the subject in a path: what the group `subject` matches, or else the first group.

    None if the pattern does not match, or if that group is empty.
    """
    match = compiled.search(path)
    group = "subject" if "subject" in compiled.groupindex else 1
    return (match[group] or None) if match else None


def _plain(name: str) -> str:
    """Write a name without what people spell in two ways; `1_12` and `11_2` stay different."""
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    text = re.sub(r"(?<=\d)[-_\s]+(?=\d)", ",", text)
    text = re.sub(r"[-_\s]+", "", text)
    return re.sub(r"\d+", lambda number: number[0].lstrip("0") or "0", text)
