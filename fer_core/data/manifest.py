"""What a dataset holds: one row per clip, made from a folder without touching a pixel."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_core.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording of one subject: a video file, or a folder or a list of still images."""

    clip: str  # unique within the manifest, stable between machines: the path below the root
    subject: str
    emotion: str
    authenticity: str | None  # "genuine", "acted", or None where the dataset does not say
    path: Path  # a video, one image, a folder of numbered images, or a table of pixels
    sha256: str  # of the file, of the folder's files with their names, or of a table's row
    landmarks: Path | None = None  # (frames, 68, 2) float32 .npy in pixels, where they come along
    landmarks_sha256: str | None = None
    offset: int | None = None  # of its line, in bytes, where `path` is a table of pixels
    part: str | None = None  # where the authors divided their set, e.g. train, val or test


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a dataset, ordered by name."""

    dataset: str
    root: Path
    clips: tuple[Clip, ...]
    # Paths below the root, each with
    left_out: tuple[tuple[str, str], ...] = ()  # the reason why it cannot be the clip it should be
    ignored: tuple[tuple[str, str], ...] = ()  # the rule of the dataset by which it is no clip
    copies: tuple[tuple[str, str], ...] = ()  # the clip that stays in its stead

    def missing_share(self, skipped: int = 0) -> float:
        """Share of what should be clips that cannot be used; `skipped` of those here are unfit."""
        return (len(self.left_out) + skipped) / (len(self.left_out) + len(self.clips))

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted({clip.subject for clip in self.clips}))

    @property
    def stills(self) -> bool:
        """Whether every clip is a single photograph, of which there is one frame to read."""
        return all(clip.offset is not None or is_image(clip.path) for clip in self.clips)

    @property
    def sha256(self) -> str:
        """Hash of names, labels and contents; the same data has it on any machine."""
        rows = [
            {k: v for k, v in asdict(clip).items() if k not in ("path", "landmarks", "offset")}
            for clip in self.clips
        ]
        return hashlib.sha256(json.dumps([self.dataset, rows]).encode()).hexdigest()


Notes = Iterable[tuple[str, str]]


def build(
    dataset: str,
    root: Path,
    clips: Iterable[Clip],
    *,
    left_out: Notes = (),
    ignored: Notes = (),
    copies: Notes = (),
) -> Manifest:
    """Order and check the clips that an adapter found.

    Raises: DataError where nothing was found or two clips have one name.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip))
    faults = sorted(left_out)
    if not ordered and faults:
        name, reason = faults[0]
        raise DataError(
            f"{root}: all {len(faults)} clips are left out, the first, {name}: {reason}."
        )
    if not ordered:
        raise DataError(f"{root} holds no clip in the layout of '{dataset}'; see README, Datasets.")
    names = [clip.clip for clip in ordered]
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice is not None:
        raise DataError(f"{root}: clip '{twice}' is there twice; each needs a name of its own.")
    return Manifest(
        dataset=dataset,
        root=root,
        clips=ordered,
        left_out=tuple(faults),
        ignored=tuple(sorted(ignored)),
        copies=tuple(sorted(copies)),
    )


def is_image(path: Path) -> bool:
    """Say whether a path is named as one still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
