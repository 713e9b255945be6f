"""Say which files of a dataset are not used, and why: one line for each kind of reason.

`search.request.data` prints the lines before a study begins.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from fer_core.data.manifest import Manifest

EXAMPLES = 3  # files that are named for each kind of reason
# What differs between two reasons of one kind: quoted values, numbers, and the names of files.
_DETAIL = re.compile(r"'[^']*'|\d+|\bframe .+?:|\bthat of .+?, but|\bcopy of .+")


def lines(manifest: Manifest) -> Iterator[str]:
    """Yield the lines: what is left out, what the dataset's rules ignore, and all other files."""
    by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in manifest.left_out:
        by_kind[_DETAIL.sub("*", reason)].append((path, reason))
    for found in by_kind.values():
        for path, reason in found[:EXAMPLES]:
            yield f"left out {path}: {reason}"
        if len(found) > EXAMPLES:
            yield f"left out {len(found) - EXAMPLES:,} more for such a reason"
    if manifest.left_out:
        yield f"{len(manifest.left_out)} files left out, {len(manifest.clips)} clips used"
    if manifest.ignored:
        counts = Counter(_DETAIL.sub("*", reason) for _, reason in manifest.ignored)
        reasons = "; ".join(f"{reason} ({n:,})" for reason, n in counts.most_common(EXAMPLES))
        yield f"{len(manifest.ignored):,} are no clips by the dataset's rules: {reasons}"
    if manifest.aside:
        yield f"other files, not read as clips: {counted(manifest.aside)}"


def counted(files: Iterable[tuple[str, int]]) -> str:
    """Write how many files have each suffix: `.txt 3, .npy 2`."""
    return ", ".join(f"{suffix} {count:,}" for suffix, count in files)
