"""Find nearly equal images that a split may put on two sides, or that have two labels.

Equal files are found by their hash when the dataset is read. This finds what is the same picture in
other bytes: resized, re-encoded or mirrored. `checkup` calls `look`. No face is needed for it; the
thumbnails come from `examination`.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from fer_core.data.manifest import Clip, Manifest
from fer_core.faces import near_copies
from fer_core.faces.file_checks import Header
from fer_core.faces.near_copies import Match
from search.checkup.examination import Examined
from search.checkup.report import NearCopyCounts, NearCopyFindings


def look(manifest: Manifest, examined: Examined) -> NearCopyFindings:
    """Compare the thumbnails of all clips.

    Pairs of one subject with one label are no finding: they stay on one side of every split.
    """
    started = time.monotonic()
    assert examined.thumbnails is not None
    found = near_copies.find(examined.thumbnails, _groups(manifest.clips))
    counts = NearCopyCounts(
        images=len(manifest.clips) - examined.unreadable,
        unreadable=examined.unreadable,
        pairs=found.pairs,
        seconds=time.monotonic() - started,
    )
    return NearCopyFindings(counts, dict(_reasons(manifest.clips, examined, found.matches)))


def _groups(clips: Sequence[Clip]) -> np.ndarray:
    """Number what may be alike without harm: the clips of one subject with one label."""
    names = [(clip.subject, clip.emotion, clip.authenticity) for clip in clips]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _reasons(
    clips: Sequence[Clip], examined: Examined, matches: Sequence[Match]
) -> Iterator[tuple[str, str]]:
    for match in matches:
        first, second = clips[match.first], clips[match.second]
        one, other = examined.headers[match.first], examined.headers[match.second]
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
