"""What all adapters share: which files are media, and which clips contradict each other."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from fer_core.manifest import IMAGE_SUFFIXES, Clip, is_image

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES

LeftOut = list[tuple[str, str]]  # path below the root, and the reason


def media_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Yield the media files anywhere below a folder, in order, without what is hidden."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def holds_image(folder: Path) -> bool:
    """Say whether a folder holds an image that is not hidden."""
    return any(is_image(path) and not path.name.startswith(".") for path in folder.iterdir())


def fault(path: Path) -> str | None:
    """Say why a file or folder cannot be a clip; None where it can be read and holds something."""
    try:
        if path.is_dir():
            return None if holds_image(path) else "it is a folder without images"
        if path.suffix.lower() not in MEDIA_SUFFIXES:
            return "it is neither an image, a video nor a folder of images"
        with path.open("rb") as file:
            return None if file.read(1) else "it is empty"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def without_duplicates(clips: Iterable[Clip]) -> tuple[list[Clip], LeftOut]:
    """Part clips from those of equal content.

    Of a subject's copies with one label the first stays. Where their labels differ, nobody can say
    which is right, so all of them go: they would teach, or test, the wrong thing. Copies under
    several subjects stay, for `protocol.check` to refuse: there is no subject-independent split.
    """
    alike: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip):
        alike[clip.subject, clip.sha256].append(clip)
    kept: list[Clip] = []
    left_out: LeftOut = []
    for same in alike.values():
        first, *copies = same
        if len({(clip.emotion, clip.authenticity) for clip in same}) > 1:
            for clip in same:
                others = ", ".join(other.clip for other in same if other is not clip)
                left_out.append(
                    (clip.clip, f"equal in content to {others}, but labelled otherwise")
                )
        else:
            kept.append(first)
            left_out += [(clip.clip, f"a copy of {first.clip}") for clip in copies]
    return kept, left_out
