"""Find nearly equal images that a split may put on two sides, or that have two labels.

Equal files are found by their hash when the dataset is read. This finds what is the same picture in
other bytes: resized, re-encoded or mirrored. `checkup` calls `look`. No face is needed for it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fer_core.data.manifest import Clip, Manifest
from fer_core.faces import near_copies
from fer_core.faces.file_checks import Header
from fer_core.faces.near_copies import Match
from fer_core.storage.processes import results
from search.checkup.report import NearCopyCounts, NearCopyFindings
from search.screen.progress import Progress

Read = tuple[Clip, Header]

_BATCH = 64  # clips that a process reads at once
_PROBED = 12  # clips that are read to forecast the time, spread over the dataset
_PROBED_SECONDS = 2.0  # no further clip is probed after this
# Comparing them all, by the square of their number: measured on one core of a busy AMD EPYC, 1.4 s
# for 10,000 images, and 404 s for 100,000 beside other work.
_PAIR_SECONDS = 2e-8
_START_SECONDS = 2.0  # of the processes


def look(
    manifest: Manifest, headers: Mapping[str, Header], *, workers: int, progress: Progress
) -> NearCopyFindings:
    """Compare all images; print the forecast first. Files that `headers` finds faulty are left out.

    Pairs of one subject with one label are no finding: they stay on one side of every split.
    """
    started = time.monotonic()
    sound = [(clip, headers[clip.clip]) for clip in manifest.clips if not headers[clip.clip].fault]
    progress.print(f"looking for near copies, about {forecast(sound, workers):.0f} s")
    batches = [sound[i : i + _BATCH] for i in range(0, len(sound), _BATCH)]
    images: list[list[near_copies.Thumbnail | None]] = [[] for _ in batches]
    for done, (place, made) in enumerate(results(near_copies.thumbnails, batches, workers), 1):
        images[place] = made
        if len(batches) > 1:
            progress.prepared(done, len(batches))
    flat = [image for batch in images for image in batch]
    read = [pair for pair, image in zip(sound, flat, strict=True) if image is not None]
    thumbnails = np.array([image for image in flat if image is not None], np.uint8)
    found = near_copies.find(
        thumbnails.reshape(-1, near_copies.SIDE, near_copies.SIDE), _groups(read)
    )
    counts = NearCopyCounts(
        images=len(read),
        unreadable=len(manifest.clips) - len(read),
        pairs=found.pairs,
        seconds=time.monotonic() - started,
    )
    return NearCopyFindings(counts, dict(_reasons(read, found.matches)))


def forecast(clips: Sequence[Read], workers: int) -> float:
    """Predict the seconds that comparing these clips takes: read some of them, and scale up."""
    spread = np.linspace(0, len(clips) - 1, min(_PROBED, len(clips))).round().astype(int)
    started, probed = time.perf_counter(), 0
    for place in spread:
        near_copies.thumbnails([clips[place]])
        probed += 1
        if time.perf_counter() - started > _PROBED_SECONDS:
            break
    reading = (time.perf_counter() - started) / max(1, probed) * len(clips)
    processes = min(workers, -(-len(clips) // _BATCH))
    starting = _START_SECONDS if processes > 1 else 0.0
    return starting + reading / max(1, processes) + _PAIR_SECONDS * len(clips) ** 2


def _groups(read: Sequence[Read]) -> np.ndarray:
    """Number what may be alike without harm: the clips of one subject with one label."""
    names = [(clip.subject, clip.emotion, clip.authenticity) for clip, _ in read]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _reasons(read: Sequence[Read], matches: Sequence[Match]) -> Iterator[tuple[str, str]]:
    for match in matches:
        (first, one), (second, other) = read[match.first], read[match.second]
        how = [
            "mirrored" if match.mirrored else "",
            f"resized from {_size(one)} to {_size(other)}" if one.size != other.size else "",
        ]
        changed = " and ".join(filter(None, how)) or "re-encoded"
        differs = [
            f"{name} '{mine}' here and '{yours}' there"
            for name, mine, yours in (
                ("subject", second.subject, first.subject),
                ("label", _label(second), _label(first)),
            )
            if mine != yours and not (name == "subject" and second.subject == second.clip)
        ]
        where = "; ".join(differs) or "each is a subject of its own, so they may be on two sides"
        yield second.clip, f"nearly the image of {first.clip}, {changed}: {where}"


def _size(header: Header) -> str:
    return "x".join(map(str, header.size)) if header.size else "unknown"


def _label(clip: Clip) -> str:
    return " ".join(filter(None, (clip.emotion, clip.authenticity)))
