"""What a copy of a dataset is worth before a study begins: what is missing, odd or unfit."""

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
from search.request import data, find_faces
from search.request.find_faces import Prepared
from search.screen.progress import Progress
from search.study.options import SEALED

# Its file cannot be a clip; it shows no usable face; it equals another; it is not of the set.
KINDS = LEFT_OUT, SKIPPED, COPY, IGNORED, NOTE = "left out", "skipped", "copy", "ignored", "note"
_SEALED = "a sealed fifth of the subjects, and five grouped folds of the others"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know about one file or clip."""

    path: str  # below the root
    kind: str  # one of KINDS
    reason: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """A protocol, and why this copy cannot follow it."""

    name: str
    about: str
    unfit: str | None  # None: it can


@dataclass(frozen=True, kw_only=True)
class FaceCounts:
    """What became of the frames of the clips that can be used."""

    frames: int
    found: int
    interpolated: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was found; `--json` prints it as it stands."""

    dataset: str
    root: str
    clips: int  # that are labelled and readable by name; those skipped are among them
    subjects: int
    classes: dict[str, int]  # emotion: clips
    frames: int  # that the files declare
    totals: tuple[str, ...]  # how this copy differs from the published releases
    protocols: tuple[Split, ...]  # the default is the first
    missing_share: float  # of all that should be clips
    max_missing: float
    findings: tuple[Finding, ...]
    faces: FaceCounts | None  # None: not searched
    forecast: Forecast | None  # None: nothing to forecast from
    may_start: bool
    because: str


@dataclass(frozen=True)
class Checked:
    """A dataset that was looked at."""

    manifest: Manifest
    prepared: Prepared | None  # None: no faces were looked for
    report: Report
    engine: str  # of the landmarks
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
    """Examine every file and, unless `quick`, find every face.

    Raises: DataError where the folder holds no clip of the dataset.
    """
    manifest = datasets.load(dataset, root)
    clips = len(manifest.clips)
    progress.print(f"{clips} clips of {len(manifest.subjects)} subjects; their files are examined")
    headers = {clip.clip: header(clip) for clip in manifest.clips}
    engine = data.landmarks_of(manifest, landmarks)
    expected = face_seconds.forecast(
        [clip for clip in manifest.clips if not headers[clip.clip].fault],
        frames=sum(found.frames for found in headers.values()),
        engine=engine,
        workers=workers,
        store=store,
    )
    progress.print(f"finding the faces, {engine}: {expected or 'no clip can be read'}")
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
    """Make a view of the frames that are read of photographs, by published protocols, or else."""
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
    """Judge whether a study may start; where no faces were looked for, by the files alone."""
    skipped = prepared.skipped if prepared else _faults(headers)
    splits = _splits(manifest, task)
    against = [split.unfit for split in splits[:1] if split.unfit]
    try:
        find_faces.check_missing(manifest, skipped, max_missing)
    except DataError as error:
        against.insert(0, str(error))
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
        faces=_counted(prepared) if prepared else None,
        forecast=expected,
        may_start=not against,
        because="; ".join(against) or missing,
    )


def _findings(
    manifest: Manifest, headers: Mapping[str, Header], prepared: Prepared | None
) -> tuple[Finding, ...]:
    """List what was found, gravest first; where both file and faces are at fault, the file is."""
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
    """Try the search's own split, and those that were published."""

    def sealed(manifest: Manifest) -> Protocol:
        return data.split_subjects(manifest, task or data.default_task(manifest), seed=0)

    published = datasets.DATASETS[manifest.dataset].protocols.items()
    return (
        Split(name=SEALED, about=_SEALED, unfit=_unfit(sealed, manifest)),
        *(Split(name=n, about=p.about, unfit=_unfit(p.split, manifest)) for n, p in published),
    )


def _unfit(split: Callable[[Manifest], Protocol], manifest: Manifest) -> str | None:
    try:
        protocol.check(split(manifest), manifest)
    except DataError as error:
        return str(error)
    return None


def _counted(prepared: Prepared) -> FaceCounts:
    states = [shard.track(clip).states for shard in prepared.faces for clip in shard.clips]
    counts = np.bincount(np.concatenate([*states, []]).astype(int), minlength=4)
    return FaceCounts(
        frames=int(counts.sum()),
        found=int(counts[follow.FOUND]),
        interpolated=int(counts[follow.INTERPOLATED]),
        left_out=int(counts[follow.LEFT_OUT]),
    )
