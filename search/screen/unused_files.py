"""Say how a dataset was understood, and which of its files are not used and why.

`search.request.data` prints the lines before a study begins, kind by kind.
"""

from collections.abc import Iterable, Iterator

from fer_core.data.manifest import Manifest
from fer_core.data.problems import grouped
from search.study.words import counted


def lines(manifest: Manifest) -> Iterator[str]:
    """Yield the lines: what was understood, left out and ignored, and all other files."""
    yield from manifest.remarks
    places = dict(manifest.places)
    for group in grouped(manifest.left_out):
        yield f"left out {counted(group.count, 'clip')}: {group.line(places)}"
    if manifest.left_out:
        yield f"{len(manifest.left_out)} files left out, {len(manifest.clips)} clips used"
    for group in grouped(manifest.ignored):
        yield f"no clip by the dataset's rules, {counted(group.count, 'file')}: {group.line()}"
    if manifest.aside:
        yield f"other files, not read as clips: {by_suffix(manifest.aside)}"


def by_suffix(files: Iterable[tuple[str, int]]) -> str:
    """Write how many files have each suffix: `.txt 3, .npy 2`."""
    return ", ".join(f"{suffix} {count:,}" for suffix, count in files)
