"""Score all clips of another dataset with a trained model, to see how well it carries over.

`search.replay --test-on` calls `score`. The faces come from the store, and everything after them is
computed as on a new video (`on_video.Reader`), so the score is that of the exported model.
"""

from collections.abc import Iterator

import numpy as np
import torch

from fer_core import scoring
from fer_core.arrays import Array
from fer_core.config import GIVEN
from fer_core.data.manifest import Clip
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces import faces_stage
from fer_core.faces.tracks import Faces, Track
from fer_core.predict.clip_views import (
    ClipViews,
    needs_landmarks,
    reads_pictures,
)
from fer_core.predict.on_video import Reader
from fer_core.storage.shared_store import open_store
from fer_core.storage.stages import Tally, read_or_make
from fer_core.trial.fitted_model import Model
from fer_core.trial.results import SealedResult

_CPU = torch.device("cpu")


def score(model: Model, study_data: StudyData) -> SealedResult:
    """Score the clips of a dataset that show a class of the model.

    Clips of other classes are left out. A clip without a face is left out too if `study_data` says
    so; otherwise it counts as wrong, and so does a clip whose view cannot be shown.

    Raises: DataError where the model sees no clip.
    """
    scored = [(clip, _probabilities(model, seen)) for clip, seen in _clips(model, study_data)]
    if not any(np.isfinite(probabilities).all() for _, probabilities in scored):
        raise DataError(f"no clip of {study_data.manifest.root} can be used: none shows a face.")
    clips = [clip for clip, _ in scored]
    labels = np.array([model.classes.index(study_data.label(clip)) for clip in clips], np.int64)
    probabilities = np.stack([each for _, each in scored])
    return SealedResult(
        metrics=scoring.score(labels, probabilities),
        clips=tuple(clip.clip for clip in clips),
        subjects=np.array([clip.subject for clip in clips]),
        labels=labels,
        probabilities=probabilities,
    )


def _clips(model: Model, study_data: StudyData) -> Iterator[tuple[Clip, ClipViews | None]]:
    """Pair each clip with what the model sees of it; clips of other classes are left out.

    None: the model sees nothing of the clip, which counts as wrong. If the model was trained on
    given faces and this dataset gives none, the model sees the faces that are found, cut out.
    """
    config, cuts = model.config, not study_data.given_faces
    cuts_given = cuts and any(stream.view == GIVEN for stream in config.images)
    faces, pictures = {}, {}
    if cuts_given or config.reads_landmarks:
        faces = _tracks(study_data, study_data.landmarks)
    if not cuts and reads_pictures(config, model.missing):
        pictures = _tracks(study_data, GIVEN)
    for clip in study_data.manifest.clips:
        face, picture = faces.get(clip.clip), pictures.get(clip.clip)
        usable = picture is not None and not needs_landmarks(config, model.missing)
        if study_data.label(clip) not in model.classes:
            continue
        if face is not None or usable:
            yield clip, ClipViews(face=face, pictures=picture, cuts_given=cuts_given)
        elif study_data.missing != "leave-out":
            yield clip, None


def _tracks(study_data: StudyData, engine: str) -> dict[str, Track]:
    """Read the faces of all clips from the store; what the store lacks is made."""
    tally = Tally()
    shards = faces_stage.shards(study_data.manifest, engine, _CPU.type, tally)
    entries = read_or_make(open_store(study_data.store), shards, tally)
    faces = (Faces(entry) for entry in entries)
    return {name: shard.track(name) for shard in faces for name in shard.clips}


def _probabilities(model: Model, clip_views: ClipViews | None) -> Array:
    """Score one clip (K,), by the frames that a trial would read; NaN where it cannot be shown."""
    if clip_views is None:
        return np.full(len(model.classes), np.nan, np.float32)
    try:
        scores = Reader(model, clip_views).clip_scores()
    except DataError:
        return np.full(len(model.classes), np.nan, np.float32)
    probabilities: Array = model.voted(scores)[0]
    return probabilities
