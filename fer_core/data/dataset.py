"""`Dataset`: what this project knows about one dataset, apart from the user's copy of it.

That is how its folder is read, how many clips a complete copy has, and the protocols that published
figures follow. Each adapter in `datasets` makes one; `doctor` compares a copy with the totals.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many clips and subjects a complete copy of one release holds."""

    source: str  # who counted, in a few words
    clips: int
    subjects: int | None = None  # None: unknown, or the dataset does not name its subjects
    classes: Mapping[str, int] = field(default_factory=dict)  # emotion: clips


@dataclass(frozen=True, kw_only=True)
class Published:
    """A protocol that published figures follow, so that ours can stand beside them."""

    about: str  # what it does, in one sentence with its source
    split: Callable[[Manifest], Protocol]  # raises ProtocolError if the copy lacks what it needs
    clip: ClipConfig | None = None  # the frames that it prescribes; None: the space chooses
    # Whether figures are on all clips, so that one without a face is not left out.
    scores_all: bool = True


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of the table DATASETS: everything that is known about a dataset."""

    manifest: Callable[[Path], Manifest]  # reads its folder, without reading a pixel
    totals: tuple[Totals, ...] = ()  # one for each release; a copy should match one of them
    protocols: Mapping[str, Published] = field(default_factory=dict)
    # The frames in which the expressions are strongest, if each clip has them at the same place.
    # Baselines read them where neither the study nor a protocol fixes the frames.
    peak: ClipConfig | None = None
    # Says whether each picture of a copy is a face that the authors cut out; None: none ever is.
    given_faces: Callable[[Manifest], bool] | None = None
    anonymous: bool = False  # nobody knows the people, so each clip is a subject of its own


def difference(manifest: Manifest, totals: Sequence[Totals]) -> tuple[str, ...]:
    """Say how a copy differs from the most similar release, one line for each count."""
    found = [
        (_against(manifest, known), abs(known.clips - len(manifest.clips))) for known in totals
    ]
    nearest, _ = min(found, key=lambda pair: (len(pair[0]), pair[1]), default=((), 0))
    return nearest


def _against(manifest: Manifest, known: Totals) -> tuple[str, ...]:
    """Compare a copy with one release.

    Clips that were left out and copies may belong to any class, so a class may lack as many.
    """
    spare = len(manifest.left_out) + len(manifest.copies)
    counts = Counter(clip.emotion for clip in manifest.clips)
    pairs = [("clips", len(manifest.clips), known.clips)]
    pairs += [(emotion, counts[emotion], clips) for emotion, clips in known.classes.items()]
    wrong = [pair for pair in pairs if not pair[1] <= pair[2] <= pair[1] + spare]
    if known.subjects not in (None, len(manifest.subjects)):
        wrong.insert(0, ("subjects", len(manifest.subjects), known.subjects or 0))
    return tuple(
        f"{what}: {found:,} here, {right:,} in a complete copy ({known.source})"
        for what, found, right in wrong
    )
