"""Score all clips of another dataset with a trained model, to see how well it carries over.

`search.replay --test-on` calls `score`. The faces come from the store, and everything after them is
computed as on a new video (`on_video.Reader`), so the score is that of the exported model.
"""

from collections.abc import Iterator

import numpy as np
import torch

from fer_core import scoring
from fer_core.arrays import Array
from fer_core.data.manifest import Clip
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces import faces_stage
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces, Track
from fer_core.predict.on_video import Reader
from fer_core.storage.shared_store import open_store
from fer_core.storage.stages import Tally, read_or_make
from fer_core.trial.fitted_model import Model
from fer_core.trial.results import SealedResult

_CPU = torch.device("cpu")


def score(model: Model, study_data: StudyData) -> SealedResult:
    """Score the clips of a dataset that show a class of the model.

    Clips of other classes, and clips without a face, are left out. A clip whose view cannot be
    shown counts as wrong, as in a trial.

    Raises: DataError where no clip is left.
    """
    scored = [(clip, _probabilities(model, track)) for clip, track in _tracks(model, study_data)]
    if not scored:
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


def _tracks(model: Model, study_data: StudyData) -> Iterator[tuple[Clip, Track]]:
    """Give the clips that show a class of the model, each with its face."""
    by_name = {clip.clip: clip for clip in study_data.manifest.clips}
    engine, tally = study_data.landmarks, Tally()
    shards = faces_stage.shards(study_data.manifest, engine, _CPU.type, tally)
    for entry in read_or_make(open_store(study_data.store), shards, tally):
        faces = Faces(entry)
        for name in faces.clips:
            if study_data.label(by_name[name]) in model.classes:
                yield by_name[name], faces.track(name)


def _probabilities(model: Model, track: Track) -> Array:
    """Score one clip (K,), by the frames that a trial would read; NaN where it cannot be shown."""
    frames = pick(track.points, track.usable, model.clip)
    try:
        scores = Reader(model, track).scores([frames])
    except DataError:
        return np.full(len(model.classes), np.nan, np.float32)
    probabilities: Array = model.voted(scores)[0]
    return probabilities
