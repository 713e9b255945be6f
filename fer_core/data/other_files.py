"""Count the files of a dataset that are no clips, so that none is passed over in silence.

`datasets.load` adds the counts to each manifest, whichever adapter made it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fer_core.data import media
from fer_core.data.manifest import Manifest
from fer_core.storage.file_names import is_junk


def others(manifest: Manifest) -> tuple[tuple[str, int], ...]:
    """Count, by suffix, the files below the root that are no part of any clip and bear no reason.

    With them, the counts of a manifest add up to the files that are there.
    """
    lists = (manifest.left_out, manifest.ignored, manifest.copies)
    named = {os.path.join(manifest.root, name) for each in lists for name, _ in each}
    clips = {os.fspath(clip.path) for clip in manifest.clips}
    landmarks = {os.fspath(clip.landmarks) for clip in manifest.clips if clip.landmarks}
    known = named | clips | landmarks
    counts: Counter[str] = Counter()
    for folder, names in _folders(os.fspath(manifest.root), set()):
        if folder in named:  # its files are its own, and its reason is told already
            continue
        frames = {file.name for file in media.frame_files(Path(folder))} if folder in clips else ()
        counts.update(
            os.path.splitext(name)[1].lower() or "no suffix"
            for name in names
            if name not in frames and os.path.join(folder, name) not in known
        )
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _folders(folder: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder that can be opened, once, with the names of its files that may count."""
    state = os.stat(folder)
    if (state.st_dev, state.st_ino) in seen:
        return
    seen.add((state.st_dev, state.st_ino))
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not is_junk(entry.name)]
    except OSError:  # whoever walked here before has said so
        return
    below = {entry.path for entry in entries if os.path.isdir(entry.path)}
    yield folder, [entry.name for entry in entries if entry.path not in below]
    for path in sorted(below):
        yield from _folders(path, seen)
