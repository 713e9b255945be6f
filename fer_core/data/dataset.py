"""What a dataset is to this project: a reader of its folder, its known totals, its protocols."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a complete copy of a release holds, as its authors or a count of it say."""

    source: str  # who says so, in a few words
    clips: int
    subjects: int | None = None  # None: not known, or the dataset does not name them
    classes: Mapping[str, int] = field(default_factory=dict)  # emotion: clips


@dataclass(frozen=True, kw_only=True)
class Published:
    """A protocol that published figures follow."""

    about: str  # in a sentence, with its source
    split: Callable[[Manifest], Protocol]  # raises ProtocolError where the copy cannot follow it
    clip: ClipConfig | None = None  # the frames that it reads; a space draws them


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of the table of datasets."""

    manifest: Callable[[Path], Manifest]  # touches no pixel
    totals: tuple[Totals, ...] = ()  # one a release; a copy should match one of them
    protocols: Mapping[str, Published] = field(default_factory=dict)


def difference(manifest: Manifest, totals: Sequence[Totals]) -> tuple[str, ...]:
    """Say in what a copy differs from the release that it is nearest to, a sentence each."""
    found = [
        (_against(manifest, known), abs(known.clips - len(manifest.clips))) for known in totals
    ]
    nearest, _ = min(found, key=lambda pair: (len(pair[0]), pair[1]), default=((), 0))
    return nearest


def _against(manifest: Manifest, known: Totals) -> tuple[str, ...]:
    """Compare with one release; what was left out, and copies, may be of any class."""
    spare = len(manifest.left_out) + len(manifest.copies)
    counts = Counter(clip.emotion for clip in manifest.clips)
    pairs = [("clips", len(manifest.clips), known.clips)]
    pairs += [(emotion, counts[emotion], clips) for emotion, clips in known.classes.items()]
    wrong = [pair for pair in pairs if not pair[1] <= pair[2] <= pair[1] + spare]
    if known.subjects not in (None, len(manifest.subjects)):
        wrong.insert(0, ("subjects", len(manifest.subjects), known.subjects or 0))
    return tuple(
        f"{what}: {n:,}, and {right:,} are known ({known.source})" for what, n, right in wrong
    )
