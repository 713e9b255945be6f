"""Everything that all adapters of datasets share: walk a folder, check its files, find copies.

An adapter only says what its dataset says about a file: `Labels`, `Faulty` (should be a clip but is
not usable) or `Ignored` (is no clip by the dataset's rules). This module does the rest: it checks
that each file exists, can be read and is not empty, says what it is by its content, hashes it, and
makes the manifest. Files are found by their place (`by_place`) or listed by a table (`by_table`).
"""

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fer_core.data import media
from fer_core.data.labels import Authenticity
from fer_core.data.manifest import Clip, Manifest, build
from fer_core.data.media import Examined, Kind
from fer_core.errors import DataError
from fer_core.storage.file_names import EARLIER, is_junk, is_no_utf_8
from fer_core.storage.files import file_sha256

# Of clips with equal content, the one in these parts stays, because what is tested on must not be
# trained on.
_PARTS = ("test", "val")
LANDMARKS = "landmarks.npy"  # beside the frames of a clip; as part of the clip, it is hashed


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a dataset says about one clip."""

    emotion: str
    subject: str | None = None  # None: unknown, so the clip counts as a subject of its own
    authenticity: Authenticity | None = None
    part: str | None = None  # train, val, test or a fold, if the authors divided their dataset
    place: str | None = None  # where a table lists it, such as "labels.csv, line 7"


@dataclass(frozen=True)
class Faulty:
    """Why something that should be a clip cannot be used."""

    reason: str
    place: str | None = None  # where a table lists it


@dataclass(frozen=True)
class Ignored:
    """Why something is no clip by the dataset's own rules."""

    reason: str


Verdict = Labels | Faulty | Ignored
"""What an adapter says about one file or folder."""

Found = tuple[str, Clip | Faulty | Ignored]
"""A path below the dataset's folder, and what was found there once the file was checked."""

Judge = Callable[[Path], Verdict | None]
"""An adapter's function from a path to its verdict; None for what needs no mention at all."""


def coded(
    code: str,
    codes: Mapping[str, str],
    *,
    subject: str | None = None,
    part: str | None = None,
    place: str | None = None,
) -> Verdict:
    """Label a clip by its dataset's code for an emotion; a code that is not listed is faulty."""
    if code not in codes:
        return Faulty(f"its label is '{code}', which is none of {', '.join(codes)}", place)
    return Labels(emotion=codes[code], subject=subject, part=part, place=place)


def by_place(dataset: str, root: Path, judge: Judge) -> Manifest:
    """Read a dataset whose labels follow from the names of its files and folders."""
    return by_table(dataset, root, walk(root, judge))


def by_table(dataset: str, root: Path, judged: Iterable[tuple[Path, Verdict]]) -> Manifest:
    """Read a dataset whose files, or folders of frames, are listed with their labels by a table."""
    listed = list(judged)
    places = {
        path.relative_to(root).as_posix(): verdict.place
        for path, verdict in listed
        if not isinstance(verdict, Ignored) and verdict.place is not None
    }
    found = (_found(root, path, verdict) for path, verdict in listed)
    return assemble(dataset, root, found, places)


def assemble(
    dataset: str, root: Path, found: Iterable[Found], places: Mapping[str, str] | None = None
) -> Manifest:
    """Make the manifest of everything that was found, after removing copies.

    `places` says where a table lists a path.
    """
    where = dict(places or {})
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    ignored: list[tuple[str, str]] = []
    for name, item in found:
        match item:
            case Clip():
                clips.append(item)
            case Faulty(reason=reason, place=place):
                left_out.append((name, reason))
                where.update({name: place} if place is not None else {})
            case Ignored(reason):
                ignored.append((name, reason))
    kept, contradicting, copies = _without_duplicates(clips)
    left_out += contradicting
    return build(
        dataset,
        root,
        kept,
        left_out=left_out,
        ignored=ignored,
        copies=copies,
        places={name: where[name] for name, _ in left_out if name in where},
    )


def walk(root: Path, judge: Judge) -> Iterator[tuple[Path, Verdict]]:
    """Judge everything below a folder, in order; what cannot be opened is faulty."""
    for path, unreadable in entries(root):
        verdict = Faulty(unreadable) if unreadable else judge(path)
        if verdict is not None:
            yield path, verdict


def entries(
    folder: Path, around: tuple[os.stat_result, ...] = ()
) -> Iterator[tuple[Path, str | None]]:
    """Yield every path below a folder, and why it cannot be opened (or None).

    What is hidden, or left behind by a system, is passed over. Links are followed, except to a
    folder that contains them: `around` has the folders above.
    """
    around = (*around, folder.stat())
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if is_junk(path.name):
            continue
        unreadable = _unreadable(path, around)
        yield path, unreadable
        if not unreadable and os.path.isdir(path):
            yield from entries(path, around)


def clip(
    path: Path,
    name: str,
    labels: Labels,
    sha256: str,
    *,
    kind: Kind | None = None,
    reading: str = "",
) -> Clip:
    """Make a clip from its labels."""
    return Clip(
        clip=name,
        subject=name if labels.subject is None else labels.subject,
        emotion=labels.emotion,
        authenticity=labels.authenticity,
        path=path,
        sha256=sha256,
        part=labels.part,
        kind=kind,
        reading=reading,
    )


def as_before(manifest: Manifest) -> Manifest:
    """Give the clips that earlier versions read, with the hashes that they had then.

    Earlier versions knew fewer suffixes, and hashed all files in a folder of frames.
    """
    clips = []
    for each in manifest.clips:
        if each.kind == "frames":
            clips.append(replace(each, sha256=file_sha256(each.path)))
        elif each.offset is not None or each.path.suffix.lower() in EARLIER:
            clips.append(each)
    return replace(manifest, clips=tuple(clips))


def _found(root: Path, path: Path, verdict: Verdict) -> Found:
    name = path.relative_to(root).as_posix()
    if not isinstance(verdict, Labels):
        return name, verdict
    try:
        found = _examined(path)
    except (DataError, ValueError) as error:  # ValueError: a table's name that no file can have
        text = str(error) if isinstance(error, DataError) else f"it cannot be read: {error}"
        return name, Faulty(text)
    except OSError as error:
        return name, Faulty(_text(path, error))
    return name, clip(path, name, verdict, found.sha256, kind=found.kind, reading=found.reading)


def _examined(path: Path) -> Examined:
    """Say what a file or a folder of frames is, and hash it.

    Raises: DataError if it cannot be a clip; OSError if it cannot be opened.
    """
    state = path.stat()
    if not stat.S_ISDIR(state.st_mode):
        _check_file(state)
        found = media.examine(path)
        if found.kind is None:
            raise DataError("it is neither an image, a video nor a folder of images")
        return found
    frames = media.frame_files(path)
    if not frames:
        raise DataError("it is a folder without images")
    for frame in frames:
        try:
            _check_file(frame.stat())
        except DataError as error:
            raise DataError(f"frame {frame.name}: {error}") from error
    return media.examine_frames(path, frames, beside=(LANDMARKS,))


def _check_file(state: os.stat_result) -> None:
    """Raise DataError for what holds no bytes, as its state tells."""
    if not stat.S_ISREG(state.st_mode):
        raise DataError("it is a device or a pipe")
    if not state.st_size:
        raise DataError("it is empty")


def _unreadable(path: Path, around: tuple[os.stat_result, ...]) -> str | None:
    """Say why a folder, or a broken link that may have led to one, cannot be opened; or None."""
    if is_no_utf_8(path.name):
        return "its name is not in UTF-8, as in old zip files; rename it"
    is_folder = False
    try:
        state = path.stat()
        is_folder = stat.S_ISDIR(state.st_mode)
        if is_folder and any(os.path.samestat(state, outer) for outer in around):
            return "it is a link to a folder that contains it"
        if is_folder:
            os.scandir(path).close()
    except OSError as error:  # a file is left to the adapter, which judges it by its name
        return _text(path, error) if is_folder or not path.suffix else None
    return None


def _text(path: Path, error: OSError) -> str:
    """Write an operating system's error as the reason why a clip cannot be used."""
    culprit = Path(error.filename or path)
    frame = "" if culprit == path else f"frame {culprit.name}: "
    if isinstance(error, FileNotFoundError):
        return f"{frame}it {'is a broken link' if culprit.is_symlink() else 'does not exist'}"
    return f"{frame}it cannot be read: {error.strerror}"


def _without_duplicates(
    clips: Iterable[Clip],
) -> tuple[list[Clip], list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the clips to keep, those whose labels contradict each other, and the copies.

    Of one subject's clips with equal content and label, the first stays. If their labels differ,
    nobody can say which is right, so none of them stays. Equal content under different subjects
    stays, because `protocol.check` must see and refuse it: no subject-independent split exists.
    """
    alike: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for each in sorted(clips, key=_rank):
        anonymous = each.subject == each.clip
        alike["" if anonymous else each.subject, each.sha256].append(each)
    kept: list[Clip] = []
    contradicting: list[tuple[str, str]] = []
    copies: list[tuple[str, str]] = []
    for same in alike.values():
        first, *others = same
        if len({(each.emotion, each.authenticity) for each in same}) > 1:
            for each in same:
                names = ", ".join(other.clip for other in same if other is not each)
                reason = f"its content is that of {names}, but its label differs"
                contradicting.append((each.clip, reason))
        else:
            kept.append(first)
            copies += [(other.clip, f"a copy of {first.clip}") for other in others]
    return kept, contradicting, copies


def _rank(found: Clip) -> tuple[int, bool, str]:
    """Sort key by which the first of equal clips stays: test before val before all others.

    Of two names, the one that earlier versions read stays, so that nothing changes for a study.
    """
    part = _PARTS.index(found.part) if found.part in _PARTS else len(_PARTS)
    return part, found.path.suffix.lower() not in EARLIER, found.clip
