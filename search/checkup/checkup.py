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
from fer_core.data import datasets, protocol, subjects
from fer_core.data.dataset import difference
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.errors import DataError
from fer_core.faces import follow
from fer_core.faces.file_checks import header
from fer_core.storage.shared_store import SharedPlace
from search.checkup import near_copies
from search.checkup.findings import faults, findings
from search.checkup.report import FaceCounts, Found, Report, SamePersonReport, Split
from search.planning import face_seconds
from search.request import data, find_faces, sides
from search.request.find_faces import Prepared
from search.screen import findings_file
from search.screen.progress import Progress
from search.study.options import SEALED

_SEALED = "a sealed fifth of the subjects, and five grouped folds of the others"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be checked, and how thoroughly."""

    dataset: str
    root: Path
    store: Path | SharedPlace
    faces: str  # "given", "found" or "auto"
    landmarks: str
    task: str | None
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
    given_faces: bool
    workers: int


def check(request: Request, progress: Progress) -> Checked:
    """Examine every file of a dataset and, unless `quick`, find and store every face.

    Raises: DataError if the folder holds no clip of the dataset.
    """
    manifest = _manifest(request, progress)
    clips, workers = len(manifest.clips), request.workers
    progress.print(f"{clips} clips of {len(manifest.subjects)} subjects; examining their files")
    headers = {clip.clip: header(clip) for clip in manifest.clips}
    given = data.given_faces(manifest, request.faces)
    engine = data.landmarks_of(manifest, request.landmarks, given=given)
    expected = face_seconds.forecast(
        [clip for clip in manifest.clips if not headers[clip.clip].fault],
        frames=sum(found.frames for found in headers.values()),
        engine=engine,
        workers=workers,
        store=request.store,
    )
    where = "given by the dataset" if engine == "data" else f"found by {engine}"
    if given:
        progress.print("the faces are given: each picture is shown as it is")
    progress.print(f"faces, landmarks {where}: {expected or 'no clip can be read'}")
    compare = _comparer(request, manifest, progress)
    near = None
    if request.near_copies:
        near = near_copies.look(manifest, headers, workers=workers, progress=progress)
    prepared = None if request.quick else _prepared(request, manifest, engine, progress)
    found = Found(
        headers=headers,
        expected=expected,
        prepared=prepared,
        near=near,
        same_person=compare(prepared) if compare and prepared else None,
        given_faces=given,
    )
    return Checked(manifest, prepared, _report(request, manifest, found), engine, given, workers)


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
    side_of = _side_of(manifest, request.task)
    return lambda prepared: same_person.look(
        describer,
        manifest.clips,
        prepared.faces,
        side_of,
        false_matches=most,
        progress=progress.prepared,
    )


def _side_of(manifest: Manifest, task: str | None) -> Callable[[str], str]:
    """Give the function that names a subject's side in the project's own split.

    If there are too few subjects for it, each is a side of its own.
    """
    try:
        split = data.split_subjects(manifest, task or data.default_task(manifest), seed=0)
    except DataError:
        return lambda subject: f"subject {subject}"
    named = {"sealed": split.sealed} | {f"fold {i}": f for i, f in enumerate(split.folds, start=1)}
    side = {subject: name for name, people in named.items() for subject in people}
    return lambda subject: side[subject]


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
        falls_back=checked.given_faces,
        store=store,
        workers=checked.workers,
        progress=progress.prepared,
    )


def _report(request: Request, manifest: Manifest, found: Found) -> Report:
    """Judge whether a study may start, by the faces, or by the files if none were looked for."""
    prepared, most = found.prepared, request.max_missing
    by_faces = prepared is not None and not found.given_faces
    skipped = prepared.skipped if prepared and by_faces else faults(found.headers)
    splits = _splits(manifest, request.task)
    problems = [split.unfit for split in splits[:1] if split.unfit]
    try:
        find_faces.check_missing(manifest, skipped, most)
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
        protocols=splits,
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
