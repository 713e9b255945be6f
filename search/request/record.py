"""Write down what a new study is of, and check a resumed one against what was written.

The record becomes study.json, which every later reader of the study relies on: `--resume`,
`search.replay` and the leaderboard. `search.session` calls `begin` once, before the first trial.
"""

import hashlib
import io
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.data import subjects
from fer_core.data.manifest import Manifest
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError, FerError
from fer_core.storage import paths
from fer_core.storage.files import file_sha256, write_atomically
from search.request.settings import Settings
from search.study import folder as folders
from search.study import parts, provenance
from search.study.folder import Folder, Record
from search.study.options import PLACES
from search.study.words import counted

_DIGITS = 16  # hexadecimal, of the hashes that are kept of each clip


def begin(
    settings: Settings,
    study_data: StudyData,
    folder: Folder | None,
    *,
    trials: int,
    modules: bytes | None = None,
) -> tuple[Folder, Record]:
    """Make the folder and the record of a new study; take those of a resumed one, with `trials`.

    `folder` is None for a new study. `modules` are those of the user's own that its space imports.
    Nothing is written to study.json yet.

    Raises: DataError if the surface of a resumed study has changed since; FerError if the folder is
        a copy under the same name, whose leaderboard would take the place of the original's.
    """
    if folder is None:
        options = settings.options
        folder = folders.create(settings.studies, space=settings.space, dataset=options.dataset)
        _keep(folder, study_data, modules)
        return folder, _new_record(settings, study_data, folder, trials)
    past = folder.record()
    if past.surface_sha256 != _surface_sha256(study_data):
        raise DataError(
            f"{settings.options.surface} has changed since study {past.study} began; start a new "
            "study."
        )
    home = str(folders.resolved(folder.path))
    original = paths.recorded(past.home or home)
    if past.study == folder.name and str(original) != home and (original / "study.json").is_file():
        raise FerError(
            f"{home} is a copy of study {past.study}, which is still at {original}; rename the "
            "copy, so that it gets a leaderboard of its own."
        )
    _keep(folder, study_data, modules)
    places = {name: getattr(settings.options, name) for name in (*PLACES, "weights")}
    places["data_root"] = str(settings.data_root)
    split = subjects.kind_of_split(study_data.manifest)
    own: dict[str, Any] = {"trials": trials, "study": folder.name, "home": home, "split": split}
    return folder, replace(past, **places | own)


def difference(folder: Folder, manifest: Manifest) -> str:
    """Say how the clips differ from those with which a study began."""
    if not folder.clips.is_file():
        return "an earlier version began it, and did not note its clips one by one"
    with np.load(io.BytesIO(folder.clips.read_bytes())) as arrays:
        columns = (arrays[name].tolist() for name in ("clips", "contents", "labels"))
        before = {clip: noted for clip, *noted in zip(*columns, strict=True)}
    now = _noted(manifest)
    same = [clip for clip in now if clip in before]
    kinds = {
        "missing": [clip for clip in before if clip not in now],
        "new": [clip for clip in now if clip not in before],
        "of other content": [clip for clip in same if now[clip][0] != before[clip][0]],
        "labelled otherwise": [
            clip for clip in same if now[clip][0] == before[clip][0] and now[clip] != before[clip]
        ],
    }
    parts_ = [f"{len(clips)} {kind} ('{clips[0]}')" for kind, clips in kinds.items() if clips]
    return f"of its {counted(len(before), 'clip')}, {', '.join(parts_)}"


def _keep(folder: Folder, study_data: StudyData, modules: bytes | None) -> None:
    """Keep what the study began with: what its space imports, and its clips."""
    if modules is not None and not folder.space_modules.is_file():
        write_atomically(folder.space_modules, modules)
    if not folder.clips.is_file():
        noted = _noted(study_data.manifest)
        contents, labels = zip(*noted.values(), strict=True)
        arrays = {"clips": list(noted), "contents": contents, "labels": labels}
        folders.write_arrays(folder.clips, arrays)


def _noted(manifest: Manifest) -> dict[str, list[str]]:
    """Give short hashes of each clip's content, and of what else the data's hash is made of."""
    noted = {}
    for clip in manifest.clips:
        about = asdict(replace(clip, path=Path(), landmarks=None, offset=None, sha256=""))
        digest = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
        noted[clip.clip] = [clip.sha256[:_DIGITS], digest[:_DIGITS]]
    return noted


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
