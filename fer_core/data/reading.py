"""What all adapters share: walking a folder, judging its files, parting clips from copies.

An adapter says of each file what the dataset says of it: `Labels`, or why it is no clip. What is
wrong with the file itself is found here.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_core.data.labels import Authenticity
from fer_core.data.manifest import IMAGE_SUFFIXES, Clip, Manifest, build, is_image
from fer_core.storage.files import file_sha256

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
_PARTS = ("test", "val")  # which of equal clips stays: what is tested on must not be trained on


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a dataset says of one clip."""

    emotion: str
    subject: str | None = None  # None: nobody knows, and the clip counts as a subject of its own
    authenticity: Authenticity | None = None
    part: str | None = None  # where the authors divided their set: train, val or test


@dataclass(frozen=True)
class Faulty:
    """Why something that should be a clip cannot be one."""

    reason: str


@dataclass(frozen=True)
class Ignored:
    """Why something is no clip by the dataset's own rules."""

    reason: str


Verdict = Labels | Faulty | Ignored
Found = tuple[str, Clip | Faulty | Ignored]  # by its path below the root
Judge = Callable[[Path], Verdict | None]  # None: not worth mentioning


def coded(
    code: str, codes: Mapping[str, str], *, subject: str | None = None, part: str | None = None
) -> Verdict:
    """Label a clip by its dataset's code of an emotion."""
    if code not in codes:
        return Faulty(f"its label is '{code}', none of {', '.join(codes)}")
    return Labels(emotion=codes[code], subject=subject, part=part)


def by_place(dataset: str, root: Path, judge: Judge) -> Manifest:
    """Read a dataset whose files and folders say themselves what they are."""
    return by_table(dataset, root, walk(root, judge))


def by_table(dataset: str, root: Path, judged: Iterable[tuple[Path, Verdict]]) -> Manifest:
    """Read a dataset of files, or folders of frames, that a table or another file names."""
    return assemble(dataset, root, (_found(root, path, verdict) for path, verdict in judged))


def assemble(dataset: str, root: Path, found: Iterable[Found]) -> Manifest:
    """Make the manifest of clips, and of what is none."""
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    ignored: list[tuple[str, str]] = []
    for name, item in found:
        match item:
            case Clip():
                clips.append(item)
            case Faulty(reason):
                left_out.append((name, reason))
            case Ignored(reason):
                ignored.append((name, reason))
    kept, contradicting, copies = _without_duplicates(clips)
    return build(
        dataset, root, kept, left_out=[*left_out, *contradicting], ignored=ignored, copies=copies
    )


def walk(root: Path, judge: Judge) -> Iterator[tuple[Path, Verdict]]:
    """Judge all that lies below a folder, in order; what is barred is faulty."""
    for path, unreadable in entries(root):
        verdict = Faulty(unreadable) if unreadable else judge(path)
        if verdict is not None:
            yield path, verdict


def entries(
    folder: Path, around: tuple[os.stat_result, ...] = ()
) -> Iterator[tuple[Path, str | None]]:
    """Yield all that lies below a folder and is not hidden, with what bars the way into it.

    Links are followed, but not to a folder that is `around` them.
    """
    around = (*around, folder.stat())
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        unreadable = _barred(path, around)
        yield path, unreadable
        if not unreadable and os.path.isdir(path):
            yield from entries(path, around)


def clip(path: Path, name: str, labels: Labels, sha256: str) -> Clip:
    """Make the clip of what a dataset says of it."""
    return Clip(
        clip=name,
        subject=name if labels.subject is None else labels.subject,
        emotion=labels.emotion,
        authenticity=labels.authenticity,
        path=path,
        sha256=sha256,
        part=labels.part,
    )


def _found(root: Path, path: Path, verdict: Verdict) -> Found:
    name = path.relative_to(root).as_posix()
    if not isinstance(verdict, Labels):
        return name, verdict
    try:
        if reason := _fault(path):
            return name, Faulty(reason)
        return name, clip(path, name, verdict, file_sha256(path))
    except ValueError as error:  # a name that no file can have
        return name, Faulty(f"it cannot be read: {error}")
    except OSError as error:
        return name, Faulty(_text(path, error))


def _fault(path: Path) -> str | None:
    """Say what is wrong with a file or a folder of frames; raises OSError where it is barred."""
    state = path.stat()
    if stat.S_ISDIR(state.st_mode):
        frames = [p for p in sorted(path.iterdir()) if is_image(p) and not p.name.startswith(".")]
        faults = ((frame.name, _fault(frame)) for frame in frames)
        first = next((f"frame {name}: {reason}" for name, reason in faults if reason), None)
        return first if frames else "it is a folder without images"
    if path.suffix.lower() not in MEDIA_SUFFIXES:
        return "it is neither an image, a video nor a folder of images"
    if not stat.S_ISREG(state.st_mode):
        return "it is a device or a pipe"
    return None if state.st_size else "it is empty"


def _barred(path: Path, around: tuple[os.stat_result, ...]) -> str | None:
    """Say why a folder, or a link that may have been one, cannot be looked into."""
    is_folder = False
    try:
        state = path.stat()
        is_folder = stat.S_ISDIR(state.st_mode)
        if is_folder and any(os.path.samestat(state, outer) for outer in around):
            return "it is a link to a folder around it"
        if is_folder:
            os.scandir(path).close()
    except OSError as error:  # a file is judged by its name
        return _text(path, error) if is_folder or not path.suffix else None
    return None


def _text(path: Path, error: OSError) -> str:
    culprit = Path(error.filename or path)
    frame = "" if culprit == path else f"frame {culprit.name}: "
    if isinstance(error, FileNotFoundError):
        return f"{frame}it {'is a link to nothing' if culprit.is_symlink() else 'does not exist'}"
    return f"{frame}it cannot be read: {error.strerror}"


def _without_duplicates(
    clips: Iterable[Clip],
) -> tuple[list[Clip], list[tuple[str, str]], list[tuple[str, str]]]:
    """Part clips from those that contradict each other, and from copies.

    Of a subject's clips of equal content and label the first stays. Where their labels differ,
    nobody can say which is right, so all of them go: they would teach, or test, the wrong thing.
    Copies under several subjects stay, for `protocol.check` to refuse: there is no
    subject-independent split.
    """
    alike: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for each in sorted(clips, key=_rank):
        nobody = each.subject == each.clip
        alike["" if nobody else each.subject, each.sha256].append(each)
    kept: list[Clip] = []
    contradicting: list[tuple[str, str]] = []
    copies: list[tuple[str, str]] = []
    for same in alike.values():
        first, *others = same
        if len({(each.emotion, each.authenticity) for each in same}) > 1:
            for each in same:
                names = ", ".join(other.clip for other in same if other is not each)
                reason = f"equal in content to {names}, but labelled otherwise"
                contradicting.append((each.clip, reason))
        else:
            kept.append(first)
            copies += [(other.clip, f"a copy of {first.clip}") for other in others]
    return kept, contradicting, copies


def _rank(found: Clip) -> tuple[int, str]:
    return _PARTS.index(found.part) if found.part in _PARTS else len(_PARTS), found.clip
