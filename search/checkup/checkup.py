"""Check a copy of a dataset before a study uses it: what is missing, odd or unusable.

`search.doctor` calls `check`, which examines every file and finds every face, and prints its
`Report`. The faces stay in the store, where studies read them. A dataset of any size is told at the
start how long it takes, and its pixels are never in memory together.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_core.config import ONE_FRAME, ClipConfig
from fer_core.data import datasets, subjects
from fer_core.data.dataset import difference
from fer_core.data.manifest import Manifest
from fer_core.data.study_data import Missing
from fer_core.errors import DataError
from fer_core.faces import follow
from fer_core.faces.landmarks import best_engine, closer
from fer_core.storage.shared_store import SharedPlace
from search.checkup import near_copies, splits
from search.checkup.examination import Examined, examine
from search.checkup.findings import findings
from search.checkup.report import FaceCounts, Found, NearCopyFindings, Report, SamePersonReport
from search.planning import face_seconds
from search.planning.face_seconds import Forecast
from search.request import data, find_faces
from search.request.find_faces import Prepared
from search.screen import findings_file, sides
from search.screen.progress import Progress
from search.study.options import SYNTHETIC, Options

_MANY = 20_000  # images whose comparison is told before it begins


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be checked, and how thoroughly."""

    dataset: str
    root: Path
    store: Path | SharedPlace
    faces: str  # "given", "found" or "auto"
    missing: str | None  # what becomes of a clip without a face: the option --missing
    landmarks: str
    task: str | None
    protocol: str  # the one that a study would follow
    subject_pattern: str | None
    columns: Mapping[str, str]
    subject_table: str | None
    max_missing: float
    workers: int
    quick: bool  # look for no face
    near_copies: bool  # look for images that are nearly the same
    false_matches: float | None  # of clips that may show one person; None: do not look for them


@dataclass(frozen=True)
class Checked:
    """A dataset that was checked: what was read and found, and the report about it."""

    manifest: Manifest
    prepared: Prepared | None  # None: no faces were looked for
    report: Report
    engine: str  # where the landmarks come from
    falls_back: bool  # show the whole picture where no face was found
    workers: int


def check(request: Request, progress: Progress) -> Checked:
    """Examine every file of a dataset and, unless `quick`, find and store every face.

    Raises: DataError if the folder holds no clip of the dataset.
    """
    early = _early_forecast(request, progress)
    manifest = _manifest(request, progress)
    workers = request.workers
    progress.print(f"{len(manifest.clips)} clips of {len(manifest.subjects)} subjects")
    given = data.given_faces(manifest, request.faces)
    engine = data.landmarks_of(manifest, request.landmarks, given=given)
    expected = _forecast(request, manifest, engine, early)
    where = "given by the dataset" if engine == "data" else f"found by {engine}"
    if given:
        progress.print("the faces are given: each picture is shown as it is")
    progress.print(f"faces, landmarks {where}: {expected or 'no clip can be read'}")
    compare = _comparer(request, manifest, progress)
    examined = examine(
        manifest.clips,
        stills=manifest.stills,
        thumbnails=request.near_copies,
        workers=workers,
        progress=progress,
    )
    near = _near_copies(manifest, examined, progress) if request.near_copies else None
    prepared = None if request.quick else _prepared(request, manifest, engine, progress)
    names = (clip.clip for clip in manifest.clips)
    found = Found(
        headers=dict(zip(names, examined.headers, strict=True)),
        expected=expected,
        prepared=prepared,
        near=near,
        same_person=compare(prepared) if compare and prepared else None,
        given_faces=given,
        missing=_missing(request, given=given),
    )
    report, falls_back = _report(request, manifest, found), found.missing == "fallback"
    return Checked(manifest, prepared, report, engine, falls_back, workers)


def _near_copies(manifest: Manifest, examined: Examined, progress: Progress) -> NearCopyFindings:
    """Look for near copies, and say so first where it takes long."""
    if len(manifest.clips) >= _MANY:
        progress.print(
            f"comparing {len(manifest.clips)} images with each other; 100,000 take about 2 minutes"
        )
    return near_copies.look(manifest, examined)


def _manifest(request: Request, progress: Progress) -> Manifest:
    with findings_file.kept(request.dataset):
        manifest = datasets.load(
            request.dataset,
            request.root,
            subject_pattern=request.subject_pattern,
            columns=request.columns,
            subject_table=request.subject_table,
        )
    progress.print_all(manifest.remarks)
    return manifest


def _early_forecast(request: Request, progress: Progress) -> Forecast | None:
    """Print what to expect of a large dataset before its files are read, which takes minutes."""
    engine = _likely_engine(request)
    if request.dataset == SYNTHETIC or engine == "data" or not request.root.is_dir():
        return None
    expected = face_seconds.quick_forecast(
        request.root, engine=engine, workers=request.workers, store=request.store
    )
    if expected is not None:
        progress.print(f"finding all faces takes {expected}; the files are read first")
    return expected


def _forecast(
    request: Request, manifest: Manifest, engine: str, early: Forecast | None
) -> Forecast | None:
    frames = face_seconds.count_frames(manifest.clips)
    if early is not None and engine == _likely_engine(request):
        return early.scaled(frames)
    return face_seconds.forecast(
        manifest.clips, frames=frames, engine=engine, workers=request.workers, store=request.store
    )


def _likely_engine(request: Request) -> str:
    """Name the engine that finds the landmarks, unless the dataset turns out to bring its own."""
    engine = best_engine() if request.landmarks == "auto" else request.landmarks
    may_be_given = datasets.DATASETS[request.dataset].given_faces is not None
    given = request.faces == "given" or (request.faces == "auto" and may_be_given)
    return closer(engine) if given else engine


def _prepared(request: Request, manifest: Manifest, engine: str, progress: Progress) -> Prepared:
    prepared = find_faces.faces(
        manifest,
        engine=engine,
        store=request.store,
        workers=request.workers,
        progress=progress.prepared,
    )
    progress.print(f"{prepared.made} shards made in {prepared.seconds:.0f} s")
    return prepared


def _comparer(
    request: Request, manifest: Manifest, progress: Progress
) -> Callable[[Prepared], SamePersonReport] | None:
    """Load what compares faces, and print how long it will take; None if nobody asked for it."""
    if request.false_matches is None:
        return None
    from search.checkup import same_person  # imports torch

    describer, most = same_person.load(), request.false_matches
    seconds = same_person.forecast(describer, len(manifest.clips))
    progress.print(f"comparing the people of {len(manifest.clips)} clips: about {seconds:.0f} s")
    side_of = splits.side_of(manifest, request.task, request.protocol)
    return lambda prepared: same_person.look(
        describer,
        manifest.clips,
        prepared.faces,
        side_of,
        false_matches=most,
        progress=progress.prepared,
    )


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
        falls_back=checked.falls_back,
        store=store,
        workers=checked.workers,
        progress=progress.prepared,
    )


def _report(request: Request, manifest: Manifest, found: Found) -> Report:
    """Judge whether a study may start, by the faces, or by the files if none were looked for."""
    prepared, most = found.prepared, request.max_missing
    given = found.given_faces
    by_faces = data.faceless_are_missing(found.missing, given=given)
    skipped = found.unreadable if not by_faces or prepared is None else prepared.skipped
    tried = splits.tried(manifest, request.task, request.protocol)
    problems = [split.unfit for split in tried[:1] if split.unfit]
    try:
        find_faces.check_missing(manifest, skipped, most, given=given)
    except DataError as error:
        problems.insert(0, str(error))
    share = manifest.missing_share(len(skipped))
    total = len(manifest.clips) + len(manifest.left_out)
    missing = f"{100 * share:.1f} % of {total} clips are missing (at most {100 * most:g} %)"
    kind = subjects.kind_of_split(manifest)
    return Report(
        dataset=manifest.dataset,
        root=str(manifest.root),
        clips=len(manifest.clips),
        subjects=len(manifest.subjects),
        split=kind,
        split_because=sides.by_clip(manifest) if kind == subjects.BY_CLIP else None,
        classes=dict(sorted(Counter(clip.emotion for clip in manifest.clips).items())),
        frames=sum(found.frames for found in found.headers.values()),
        other_files=dict(manifest.aside),
        totals=difference(manifest, datasets.DATASETS[manifest.dataset].totals),
        protocols=tried,
        missing_share=share,
        max_missing=most,
        findings=findings(manifest, found),
        near_copies=found.near.counts if found.near else None,
        same_person=found.same_person,
        faces=_count_faces(prepared) if prepared else None,
        forecast=found.expected,
        may_start=not problems,
        because="; ".join(problems) or missing,
    )


def _missing(request: Request, *, given: bool) -> Missing:
    """Choose what becomes of a clip without a face, as a study on this dataset would."""
    options = Options(
        space="",  # any
        dataset=request.dataset,
        protocol_name=request.protocol,
        missing=request.missing,
    )
    return data.missing_of(options, given=given)


def _count_faces(prepared: Prepared) -> FaceCounts:
    counts = sum((np.bincount(shard.states, minlength=4) for shard in prepared.faces), np.zeros(4))
    return FaceCounts(
        frames=int(counts.sum()),
        found=int(counts[follow.FOUND]),
        interpolated=int(counts[follow.INTERPOLATED]),
        left_out=int(counts[follow.LEFT_OUT]),
    )
