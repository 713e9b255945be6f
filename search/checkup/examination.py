"""Examine the files of all clips in several processes, and reduce each to a thumbnail meanwhile.

`checkup` calls `examine` once. The headers say what is wrong or odd about a file; the thumbnails
are what `near_copies` compares. Both take a moment a file, which is hours for a large dataset if
one process does it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fer_core.data.manifest import Clip
from fer_core.faces import near_copies
from fer_core.faces.file_checks import Header, header
from fer_core.faces.near_copies import SIDE, Thumbnail
from fer_core.storage.processes import results
from search.screen.progress import Progress

_BATCH, _VIDEOS = 64, 8  # files, or clips of which some are videos, that a process reads at once
_PROBED = 24  # clips that are read to forecast the time, spread over the dataset
_PROBED_SECONDS = 2.0  # no further clip is probed after this
_START_SECONDS = 2.0  # of the processes

Read = tuple[Header, Thumbnail | None]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What the files of the clips say, in the order of the clips."""

    headers: tuple[Header, ...]
    # (clips, SIDE, SIDE) grey levels, all 0 where a clip could not be read; None: not wanted
    thumbnails: np.ndarray | None
    unreadable: int  # clips without a thumbnail


def examine(
    clips: Sequence[Clip], *, stills: bool, thumbnails: bool, workers: int, progress: Progress
) -> Examined:
    """Examine all clips; print the forecast first.

    Raises: FerError if a process was killed.
    """
    size = _BATCH if stills else _VIDEOS
    batches = [clips[i : i + size] for i in range(0, len(clips), size)]
    read = partial(_read, thumbnails=thumbnails)
    seconds = _forecast(clips, read, min(workers, len(batches)))
    also = " and looking for near copies" if thumbnails else ""
    progress.print(f"examining the files{also}, about {seconds:.0f} s")
    headers: list[Header] = [Header()] * len(clips)
    images = np.zeros((len(clips) if thumbnails else 0, SIDE, SIDE), np.uint8)
    shared: dict[Header, Header] = {}  # photographs of one camera have equal headers
    unreadable = 0
    for done, (place, found) in enumerate(results(read, batches, workers), start=1):
        for number, (about, image) in enumerate(found, start=place * size):
            headers[number] = shared.setdefault(about, about)
            unreadable += image is None
            if image is not None:
                images[number] = image
        if len(batches) > 1:
            progress.prepared(done, len(batches), "examined")
    return Examined(
        headers=tuple(headers),
        thumbnails=images if thumbnails else None,
        unreadable=unreadable,
    )


def _forecast(clips: Sequence[Clip], read: "partial[list[Read]]", processes: int) -> float:
    """Predict the seconds that examining these clips takes: read some of them, and scale up."""
    spread = np.linspace(0, len(clips) - 1, min(_PROBED, len(clips))).round().astype(int)
    started, probed = time.perf_counter(), 0
    for place in spread:
        read([clips[place]])
        probed += 1
        if time.perf_counter() - started > _PROBED_SECONDS:
            break
    reading = (time.perf_counter() - started) / probed * len(clips)
    comparing = near_copies.seconds(len(clips)) if read.keywords["thumbnails"] else 0.0
    starting = _START_SECONDS if processes > 1 else 0.0
    return starting + reading / max(1, processes) + comparing


def _read(clips: Sequence[Clip], *, thumbnails: bool) -> list[Read]:
    """Examine some clips, and reduce each that is sound to a thumbnail."""
    found: list[Read] = []
    for clip in clips:
        about = header(clip)
        wanted = thumbnails and not about.fault
        image = near_copies.thumbnails([(clip, about)])[0] if wanted else None
        found.append((about, image))
    return found
