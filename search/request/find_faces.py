"""Find every face of a dataset and store it, before the first trial needs one.

Faces are found once per dataset: the stage `faces` keeps them in the store. `search.session` does
this before the first trial of a study, and `search.doctor` does it ahead of any study.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.config import GIVEN, ClipConfig
from fer_core.data.manifest import Manifest
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces import faces_stage, views_stage
from fer_core.faces.landmarks import base_engine
from fer_core.faces.tracks import Faces
from fer_core.machine import allowed_cores
from fer_core.storage.shared_store import SharedPlace, open_store
from fer_core.storage.stages import Shard, Tally, make, read_or_make
from fer_core.storage.store import Entry
from search.request.data import faceless_are_missing
from search.screen import findings_file, grouped

if TYPE_CHECKING:
    from search.screen.progress import Progress

_WITHOUT_FACE = {
    "leave-out": "they are left out",
    "fallback": "their whole picture takes the place of the face, and for landmarks they count as "
    "wrong",
    "wrong": "they count as wrong",
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The faces of a whole dataset, as the stage `faces` stores them."""

    faces: tuple[Faces, ...]  # one entry per shard, which holds the faces of several clips
    skipped: Mapping[str, str]  # clip: why it cannot be used
    notes: Mapping[str, str]  # clip: what is odd about it
    seconds: float
    made: int  # shards that were not in the store yet


def faces(
    manifest: Manifest,
    *,
    engine: str,
    store: Path | SharedPlace,
    workers: int,
    progress: Callable[[int, int], None],
) -> Prepared:
    """Find the faces of all clips, in several processes, and store them.

    What the store already has is not made again, so after a kill the same call continues.
    `progress` is called after each shard with the shards made so far and those that were missing.
    """
    started = time.monotonic()
    shared = open_store(store)
    shards = faces_stage.shards(manifest, engine, device_of(engine), Tally())
    made = 0
    if device_of(engine) != "cpu":
        workers = 1  # several would wait for the one GPU, and each would load the network
    for made, missing in make(shared, shards, workers):
        progress(made, missing)
    read = tuple(Faces(entry) for entry in read_or_make(shared, shards, Tally()))
    return Prepared(
        faces=read,
        skipped={clip: reason for shard in read for clip, reason in shard.skipped.items()},
        notes={clip: note for shard in read for clip, note in shard.notes.items()},
        seconds=time.monotonic() - started,
        made=made,
    )


def views(
    manifest: Manifest,
    *,
    view: str,
    clip: ClipConfig,
    engine: str,
    falls_back: bool,
    store: Path | SharedPlace,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Make and store one view of all faces, for the frames that `clip` reads.

    With `falls_back`, a clip without a face is shown as a whole. `progress` is called as by
    `faces`.
    """
    shared = open_store(store)

    def read(engine: str) -> list[tuple[Shard, Entry]]:
        found = faces_stage.shards(manifest, engine, device_of(engine), Tally())
        return list(zip(found, read_or_make(shared, found, Tally()), strict=True))

    shown = read(GIVEN if view == GIVEN else engine)
    whole = read(GIVEN) if falls_back and view != GIVEN else None
    shards = views_stage.shards(shown, clip, view, None, whole)
    for made, missing in make(shared, shards, workers):
        progress(made, missing)


def prepare(
    study_data: StudyData, max_missing: float, progress: "Progress", *, landmarks: bool = True
) -> StudyData:
    """Find and store all faces of a study before its first trial, with a process per allowed core.

    Given faces are only stored, unless `landmarks` says that trials will read their landmarks.
    Returns the data with the share of the clips in which no landmarks were found.

    Raises: DataError if more than the share `max_missing` of the clips cannot be used.
    """
    manifest = study_data.manifest
    make = partial(
        faces,
        manifest,
        store=study_data.store,
        workers=allowed_cores(),
        progress=progress.prepared,
    )
    if study_data.given_faces or study_data.missing == "fallback":
        pictures = make(engine=GIVEN)
        _check_missing(manifest, pictures.skipped, max_missing, given=study_data.given_faces)
        if study_data.given_faces and not landmarks and study_data.missing != "leave-out":
            return study_data
    found = make(engine=study_data.landmarks)
    if faceless_are_missing(study_data.missing, given=study_data.given_faces):
        _check_missing(manifest, found.skipped, max_missing, given=study_data.given_faces)
    if study_data.missing == "leave-out" and not study_data.given_faces:
        progress.skipped(found.skipped)
    progress.print_all(_about(found, study_data))
    share = len(found.skipped) / len(manifest.clips)
    return replace(study_data, without_landmarks=share)


def _about(found: Prepared, study_data: StudyData) -> Iterator[str]:
    """Say what is odd about the faces that were found, and what becomes of clips without one."""
    if study_data.given_faces or study_data.missing != "leave-out":
        of_all = f"of {len(study_data.manifest.clips)} clips"
        faceless, unreadable = divided(found.skipped)
        if faceless:
            without = _WITHOUT_FACE[study_data.missing]
            yield f"no face was found in {len(faceless)} {of_all}: {without}"
            yield from grouped.lines(faceless.items())
        if unreadable:
            what = "left out" if study_data.missing == "leave-out" else "counted as wrong"
            yield f"{len(unreadable)} {of_all} cannot be read, and are {what}"
            yield from grouped.lines(unreadable.items())
    yield from grouped.lines(found.notes.items())


def divided(skipped: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Divide skipped clips into those without a face and those that cannot be read."""
    faceless = {clip: why for clip, why in skipped.items() if faces_stage.is_faceless(why)}
    return faceless, {clip: why for clip, why in skipped.items() if clip not in faceless}


def _check_missing(
    manifest: Manifest, skipped: Mapping[str, str], most: float, *, given: bool
) -> None:
    """Check as `check_missing` does, and list all that is missing in a file if it is too much."""
    try:
        check_missing(manifest, skipped, most, given=given)
    except DataError as error:
        listed = findings_file.rows(findings_file.SKIPPED, skipped.items())
        file = findings_file.write(manifest.dataset, [*findings_file.left_out(manifest), *listed])
        raise DataError(f"{error} All are listed in {file}.") from error


def check_missing(
    manifest: Manifest, skipped: Mapping[str, str], most: float, *, given: bool
) -> None:
    """Refuse a dataset if more than the share `most` of its clips cannot be used.

    `given` says whether each picture is a face already.

    Raises: DataError that says how much is missing, gives the first reason, and says what to do
        about pictures without a face.
    """
    advice = _advice(skipped, given=given)
    if len(skipped) == len(manifest.clips):
        reason = next(iter(skipped.values())).rstrip(".")
        raise DataError(f"no clip of {manifest.root} can be used: {reason}.{advice}")
    share = manifest.missing_share(len(skipped))
    if share > most:
        first = next(iter([*manifest.left_out, *skipped.items()]))
        raise DataError(
            f"{share:.1%} of the clips below {manifest.root} cannot be used, and --max-missing is "
            f"{most:.1%}; the first is {first[0]}: {first[1].rstrip('.')}.{advice}"
        )


def _advice(skipped: Mapping[str, str], *, given: bool) -> str:
    """Say what to do if most of what is skipped shows no face."""
    if 2 * list(skipped.values()).count(faces_stage.NO_FACE) <= len(skipped):
        return ""
    cut = "" if given else " If each picture is a face that was cut out, give --faces given."
    return f"{cut} With --missing fallback, a picture without a face is shown as a whole."


def device_of(engine: str) -> str:
    """Choose where a landmark engine runs: only face_alignment can use a GPU."""
    if base_engine(engine) != "face_alignment":
        return "cpu"
    return "cuda" if _has_gpu() else "cpu"


def _has_gpu() -> bool:
    import torch  # only here, since it takes half a gigabyte of memory in each process

    return torch.cuda.is_available()
