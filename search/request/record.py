"""Write down what a new study is of, and check a resumed one against what was written.

The record becomes study.json, which every later reader of the study relies on: `--resume`,
`search.replay` and the leaderboard. `search.session` calls `begin` once, before the first trial.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fer_core.data import subjects
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError, FerError
from fer_core.storage import paths
from fer_core.storage.files import file_sha256
from search.request.settings import Settings
from search.study import folder as folders
from search.study import parts, provenance
from search.study.folder import Folder, Record


def begin(
    settings: Settings, study_data: StudyData, folder: Folder | None, *, trials: int
) -> tuple[Folder, Record]:
    """Make the folder and the record of a new study; take those of a resumed one, with `trials`.

    `folder` is None for a new study. Nothing is written to study.json yet.

    Raises: DataError if the surface of a resumed study has changed since; FerError if the folder is
        a copy under the same name, whose leaderboard would take the place of the original's.
    """
    if folder is None:
        options = settings.options
        folder = folders.create(settings.studies, space=settings.space, dataset=options.dataset)
        return folder, _new_record(settings, study_data, folder, trials)
    past = folder.record()
    if past.surface_sha256 != _surface_sha256(study_data):
        raise DataError(
            f"{past.surface} has changed since study {past.study} began; start a new study."
        )
    home = str(folders.resolved(folder.path))
    original = paths.parse(past.home or home)
    if past.study == folder.name and str(original) != home and (original / "study.json").is_file():
        raise FerError(
            f"{home} is a copy of study {past.study}, which is still at {original}; rename the "
            "copy, so that it gets a leaderboard of its own."
        )
    split = subjects.kind_of_split(study_data.manifest)
    return folder, replace(past, trials=trials, study=folder.name, home=home, split=split)


def _new_record(settings: Settings, study_data: StudyData, folder: Folder, trials: int) -> Record:
    options: dict[str, Any] = asdict(settings.options)
    resolved: dict[str, Any] = {  # options that the user may leave open
        "data_root": str(settings.data_root),
        "task": study_data.task,
        "trials": trials,
        "landmarks": study_data.landmarks,
        "faces": "given" if study_data.given_faces else "found",
        "missing": study_data.missing,
    }
    return Record(
        **options | resolved,
        study=folder.name,
        home=str(folders.resolved(folder.path)),
        surface_sha256=_surface_sha256(study_data),
        clip=asdict(study_data.clip) if study_data.clip else None,
        protocol=study_data.protocol.to_json(),
        protocol_id=study_data.protocol.protocol_id,
        split=subjects.kind_of_split(study_data.manifest),
        data_sha256=study_data.manifest.sha256,
        split_sha256=study_data.protocol.split_sha256,
        commit=provenance.commit(),
        versions=provenance.versions(),
        arguments=sys.argv[1:],
        started_at=parts.now(),
    )


def _surface_sha256(study_data: StudyData) -> str | None:
    return file_sha256(Path(study_data.surface)) if study_data.surface else None
