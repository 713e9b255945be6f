"""`Manifest`: the clips of a dataset, one row each, as an adapter found them in its folder.

It records for each clip where it lies, what it shows, and the hash of its content, without reading
a pixel. It also records what could not be used and why. Every later step starts from it: the
protocol splits its subjects, and the room `faces` reads its clips.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_core.data.media import Kind
from fer_core.data.problems import grouped
from fer_core.errors import DataError
from fer_core.storage.file_names import is_image_name

# Fields of a clip that say where its content lies and how it is read, and not what it is.
_NOT_HASHED = ("path", "landmarks", "offset", "kind", "reading")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording of one subject: a video, a folder of frames, or a single photograph."""

    clip: str  # its name: the path below the dataset's folder, unique, the same on every machine
    subject: str
    emotion: str
    authenticity: str | None  # "genuine" or "acted"; None if the dataset does not say
    path: Path  # a video, one image, a folder of numbered images, or a table of pixels
    sha256: str  # hash of the file, of all files of the folder, or of the row of the table
    landmarks: Path | None = None  # (frames, 68, 2) float32 .npy in pixels, if the dataset has them
    landmarks_sha256: str | None = None
    offset: int | None = None  # if `path` is a table of pixels: where the row begins, in bytes
    part: str | None = None  # train, val, test or a fold, if the authors divided their dataset
    kind: Kind | None = None  # what its file was found to be; None: as its suffix says
    reading: str = ""  # how it is read if earlier versions read it differently: `media.Examined`

    @property
    def is_still(self) -> bool:
        """Whether it is a single photograph."""
        if self.kind is None:
            return self.is_named_still
        return self.kind in ("image", "row")

    @property
    def is_named_still(self) -> bool:
        """Whether its name is that of a single photograph, whatever the file holds."""
        return self.offset is not None or (is_image_name(self.path) and not self.path.is_dir())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a dataset in the order of their names, and what was not taken as a clip.

    `left_out`, `ignored` and `copies` are pairs of a path below `root` and a reason.
    """

    dataset: str
    root: Path
    clips: tuple[Clip, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # should be a clip, but is missing or damaged
    ignored: tuple[tuple[str, str], ...] = ()  # is no clip by the dataset's own rules
    copies: tuple[tuple[str, str], ...] = ()  # has the same content and label as another clip
    # Where a table lists what was left out: pairs of a path, and the table with the line.
    places: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()  # how the folder was understood, a line each
    aside: tuple[tuple[str, int], ...] = ()  # all other files: their suffixes, and how many each

    def missing_share(self, skipped: int = 0) -> float:
        """Return the share of the dataset's clips that cannot be used, from 0 to 1.

        `skipped` is how many of `clips` turned out to be unusable later, for instance because no
        face was found.
        """
        return (len(self.left_out) + skipped) / (len(self.left_out) + len(self.clips))

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of all subjects, sorted."""
        return tuple(sorted({clip.subject for clip in self.clips}))

    @property
    def stills(self) -> bool:
        """Whether every clip is a single photograph, so that there is one frame to read."""
        return all(clip.is_still for clip in self.clips)

    @property
    def sha256(self) -> str:
        """A hash of all names, labels and contents; the same data has it on any machine."""
        rows = [
            {k: v for k, v in vars(clip).items() if k not in _NOT_HASHED} for clip in self.clips
        ]
        return hashlib.sha256(json.dumps([self.dataset, rows]).encode()).hexdigest()


class NoClipError(DataError):
    """All clips of a dataset are left out; the error has the reasons, to be written to a file."""

    def __init__(
        self, message: str, left_out: "Notes" = (), places: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.left_out = tuple(left_out)
        self.places = tuple((places or {}).items())


Notes = Iterable[tuple[str, str]]


def build(
    dataset: str,
    root: Path,
    clips: Iterable[Clip],
    *,
    left_out: Notes = (),
    ignored: Notes = (),
    copies: Notes = (),
    places: Mapping[str, str] | None = None,
) -> Manifest:
    """Make the manifest of the clips that an adapter found, in order, after checking them.

    Raises: DataError if there is no clip, or two clips have the same name.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip))
    faults = sorted(left_out)
    if not ordered and faults:
        raise NoClipError(_nothing_left(root, faults, places or {}), faults, places or {})
    no_clips = sorted(ignored)
    if not ordered:
        seen = "".join(f" {name} is no clip: {reason}." for name, reason in no_clips[:1])
        raise DataError(
            f"{root} holds no clip in the layout of '{dataset}', which docs/datasets.md shows."
            f"{seen}"
        )
    names = [clip.clip for clip in ordered]
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice is not None:
        raise DataError(f"{root}: two clips are named '{twice}'; each needs its own name.")
    return Manifest(
        dataset=dataset,
        root=root,
        clips=ordered,
        left_out=tuple(faults),
        ignored=tuple(no_clips),
        copies=tuple(sorted(copies)),
        places=tuple(sorted((places or {}).items())),
    )


def _nothing_left(root: Path, faults: Sequence[tuple[str, str]], places: Mapping[str, str]) -> str:
    """Say in one line why all clips are left out; one reason for all is said once."""
    name, reason = faults[0]
    place = f" in {places[name]}" if places.get(name, name) != name else ""
    kinds = grouped(faults)
    whole = f"{root}: all {len(faults)} clips are left out; "
    if len(kinds) == 1:
        whole += "all for one reason; " if len(faults) > 1 else ""
        message = f"{whole}the first is {name}{place}: {reason}."
        relative = places and reason == "it does not exist"
        return f"{message} Paths in a table begin below that folder." if relative else message
    return f"{whole}{'; '.join(f'{group.count} of them, {group.line(places)}' for group in kinds)}."
