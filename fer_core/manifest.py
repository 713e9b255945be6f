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
    path: Path  # a video, one image, or a folder of numbered images
    sha256: str  # of the file, or of the folder's names and files in order
    landmarks: Path | None = None  # (frames, 68, 2) float32 .npy in pixels, where they come along


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a dataset, ordered by name."""

    dataset: str
    root: Path
    clips: tuple[Clip, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # path below the root, and the reason

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted({clip.subject for clip in self.clips}))

    @property
    def stills(self) -> bool:
        """Whether every clip is a single photograph, of which there is one frame to read."""
        return all(is_image(clip.path) for clip in self.clips)

    @property
    def sha256(self) -> str:
        """Hash of names, labels and contents; the same data has it on any machine."""
        rows = [
            {k: v for k, v in asdict(clip).items() if k not in ("path", "landmarks")}
            for clip in self.clips
        ]
        return hashlib.sha256(json.dumps([self.dataset, rows]).encode()).hexdigest()


def build(
    dataset: str, root: Path, clips: Iterable[Clip], left_out: Iterable[tuple[str, str]] = ()
) -> Manifest:
    """Order and check the clips that an adapter found.

    Raises: DataError where nothing was found or two clips have one name.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip))
    if not ordered:
        raise DataError(f"{root} holds no clip in the layout of '{dataset}'; see README, Datasets.")
    names = [clip.clip for clip in ordered]
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice is not None:
        raise DataError(f"{root}: clip '{twice}' is there twice; each needs a name of its own.")
    return Manifest(dataset=dataset, root=root, clips=ordered, left_out=tuple(left_out))


def is_image(path: Path) -> bool:
    """Say whether a path is named as one still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()


def file_sha256(path: Path) -> str:
    """Hash a file, or a folder of files by their names and contents in order."""
    if path.is_dir():
        parts = [f"{p.name}:{file_sha256(p)}" for p in sorted(path.iterdir()) if p.is_file()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
