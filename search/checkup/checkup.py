"""Check a copy of a dataset before a study uses it: what is missing, odd or unusable.

`search.doctor` calls `check`, which examines every file and finds every face, and prints its
`Report`. The faces stay in the store, where studies read them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_core.config import ONE_FRAME, ClipConfig
from fer_core.data import datasets, protocol
from fer_core.data.dataset import difference
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.errors import DataError
from fer_core.faces import follow
from fer_core.faces.file_checks import Header, header
from fer_core.storage.shared_store import SharedPlace
from search.planning import face_seconds
from search.planning.face_seconds import Forecast
from search.request import data, find_faces, sides
from search.request.find_faces import Prepared
from search.screen.progress import Progress
from search.study.options import SEALED

# The kinds of findings, the gravest first. "left out": the file cannot be the clip that it should
# be. "skipped": it shows no usable face. "copy": it equals another file. "ignored": by the
# dataset's own rules it is no clip. "note": it is used, and something about it is odd.
KINDS = LEFT_OUT, SKIPPED, COPY, IGNORED, NOTE = "left out", "skipped", "copy", "ignored", "note"
_SEALED = "a sealed fifth of the subjects, and five grouped folds of the others"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the user should know about one file or clip."""

    path: str  # relative to the root of the dataset
    kind: str  # one of KINDS
    reason: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """A protocol, and whether this copy of the dataset can follow it."""

    name: str
    about: str
    unfit: str | None  # why it cannot be followed; None: it can
    sides: tuple[str, ...] = ()  # who is on which side, a line each


@dataclass(frozen=True, kw_only=True)
class FaceCounts:
    """How many frames of the usable clips show a face."""

    frames: int
    found: int
    interpolated: int  # no face was found, but the frames around show one
    left_out: int  # no face


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check. `--json` prints these fields."""

    dataset: str
    root: str
    clips: int  # labelled clips, including the skipped ones
    subjects: int
    classes: dict[str, int]  # emotion: clips
    frames: int  # as many as the files say that they have
    totals: tuple[str, ...]  # how this copy differs from the published releases
    protocols: tuple[Split, ...]  # the default is the first
    missing_share: float  # share of the files that should be clips and cannot be used
    max_missing: float  # the largest share with which a study may start
    findings: tuple[Finding, ...]
    faces: FaceCounts | None  # None: no faces were looked for
    forecast: Forecast | None  # time and space to find the faces; None: no clip to measure
    may_start: bool  # whether a study may start
    because: str  # why it may, or may not


@dataclass(frozen=True)
class Checked:
    """A dataset that was checked: what was read and found, and the report about it."""

    manifest: Manifest
    prepared: Prepared | None  # None: no faces were looked for
    report: Report
    engine: str  # where the landmarks come from
    workers: int


def check(
    dataset: str,
    root: Path,
    *,
    store: Path | SharedPlace,
    landmarks: str,
    task: str | None,
    max_missing: float,
    workers: int,
    quick: bool,
    progress: Progress,
) -> Checked:
    """Examine every file of a dataset and, unless `quick`, find and store every face.

    Raises: DataError if the folder holds no clip of the dataset.
    """
    manifest = datasets.load(dataset, root)
    clips = len(manifest.clips)
    progress.print(f"{clips} clips of {len(manifest.subjects)} subjects; examining their files")
    headers = {clip.clip: header(clip) for clip in manifest.clips}
    engine = data.landmarks_of(manifest, landmarks)
    expected = face_seconds.forecast(
        [clip for clip in manifest.clips if not headers[clip.clip].fault],
        frames=sum(found.frames for found in headers.values()),
        engine=engine,
        workers=workers,
        store=store,
    )
    where = "given by the dataset" if engine == "data" else f"found by {engine}"
    progress.print(f"faces, landmarks {where}: {expected or 'no clip can be read'}")
    prepared = None
    if not quick:
        prepared = find_faces.faces(
            manifest, engine=engine, store=store, workers=workers, progress=progress.prepared
        )
        progress.print(f"{prepared.made} shards made in {prepared.seconds:.0f} s")
    report = _report(manifest, headers, prepared, expected, task=task, max_missing=max_missing)
    return Checked(manifest, prepared, report, engine, workers)


def prepare_view(
    checked: Checked, view: str, *, store: Path | SharedPlace, progress: Progress
) -> None:
    """Make and store one view of every face.

    A video has the frames of the dataset's first published protocol that names any, else the
    default frames of a config.
    """
    published = datasets.DATASETS[checked.manifest.dataset].protocols.values()
    fixed = [protocol.clip for protocol in published if protocol.clip]
    find_faces.views(
        checked.manifest,
        view=view,
        clip=ONE_FRAME if checked.manifest.stills else next(iter(fixed), ClipConfig()),
        engine=checked.engine,
        store=store,
        workers=checked.workers,
        progress=progress.prepared,
    )


def _report(
    manifest: Manifest,
    headers: Mapping[str, Header],
    prepared: Prepared | None,
    expected: Forecast | None,
    *,
    task: str | None,
    max_missing: float,
) -> Report:
    """Judge whether a study may start, by the faces, or by the files if none were looked for."""
    skipped = prepared.skipped if prepared else _faults(headers)
    splits = _splits(manifest, task)
    problems = [split.unfit for split in splits[:1] if split.unfit]
    try:
        find_faces.check_missing(manifest, skipped, max_missing)
    except DataError as error:
        problems.insert(0, str(error))
    share = manifest.missing_share(len(skipped))
    total = len(manifest.clips) + len(manifest.left_out)
    missing = f"{100 * share:.1f} % of {total} clips are missing (at most {100 * max_missing:g} %)"
    return Report(
        dataset=manifest.dataset,
        root=str(manifest.root),
        clips=len(manifest.clips),
        subjects=len(manifest.subjects),
        classes=dict(sorted(Counter(clip.emotion for clip in manifest.clips).items())),
        frames=sum(found.frames for found in headers.values()),
        totals=difference(manifest, datasets.DATASETS[manifest.dataset].totals),
        protocols=splits,
        missing_share=share,
        max_missing=max_missing,
        findings=_findings(manifest, headers, prepared),
        faces=_count_faces(prepared) if prepared else None,
        forecast=expected,
        may_start=not problems,
        because="; ".join(problems) or missing,
    )


def _findings(
    manifest: Manifest, headers: Mapping[str, Header], prepared: Prepared | None
) -> tuple[Finding, ...]:
    """List all findings, the gravest first.

    A clip whose file is damaged and which shows no face is listed for its file. If the file looks
    damaged and the clip shows faces all the same, it gets a note.
    """
    faults = _faults(headers)
    skipped = prepared.skipped if prepared else faults
    notes = [(clip, note) for clip, found in headers.items() for note in found.notes]
    contradicted = [(clip, fault) for clip, fault in faults.items() if clip not in skipped]
    lists = {
        LEFT_OUT: [
            *manifest.left_out,
            *((clip, faults[clip]) for clip in skipped if clip in faults),
        ],
        SKIPPED: [(clip, why) for clip, why in skipped.items() if clip not in faults],
        COPY: manifest.copies,
        IGNORED: manifest.ignored,
        NOTE: [*notes, *contradicted, *(prepared.notes.items() if prepared else ())],
    }
    return tuple(
        Finding(path=path, kind=kind, reason=reason)
        for kind in KINDS
        for path, reason in sorted(lists[kind])
    )


def _faults(headers: Mapping[str, Header]) -> dict[str, str]:
    return {clip: found.fault for clip, found in headers.items() if found.fault}


def _splits(manifest: Manifest, task: str | None) -> tuple[Split, ...]:
    """Try the project's own split, which is the default, and those published with the dataset."""
    learned = task or data.default_task(manifest)

    def sealed_split(manifest: Manifest) -> Protocol:
        return data.split_subjects(manifest, learned, seed=0)

    def tried(name: str, about: str, split: Callable[[Manifest], Protocol]) -> Split:
        try:
            protocol.check(made := split(manifest), manifest)
            of_sides = tuple(sides.lines(made, manifest, learned))
        except DataError as error:
            return Split(name=name, about=about, unfit=str(error))
        return Split(name=name, about=about, unfit=None, sides=of_sides)

    published = datasets.DATASETS[manifest.dataset].protocols.items()
    return (
        tried(SEALED, _SEALED, sealed_split),
        *(tried(name, each.about, each.split) for name, each in published),
    )


def _count_faces(prepared: Prepared) -> FaceCounts:
    states = [shard.track(clip).states for shard in prepared.faces for clip in shard.clips]
    counts = np.bincount(np.concatenate([*states, []]).astype(int), minlength=4)
    return FaceCounts(
        frames=int(counts.sum()),
        found=int(counts[follow.FOUND]),
        interpolated=int(counts[follow.INTERPOLATED]),
        left_out=int(counts[follow.LEFT_OUT]),
    )
