"""Score a video with a trained model: as one clip, and at each moment.

`predict` is what the command `python -m fer_core.predict` calls. It follows the face with the same
stage that prepared the training data, and passes windows of frames through the model.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import GIVEN
from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import DataError
from fer_core.faces import faces_stage, video
from fer_core.faces.landmarks import best_engine
from fer_core.faces.tracks import Faces, Track
from fer_core.features.encoders import ImageEncoder, PointEncoder
from fer_core.features.stream_inputs import points_of
from fer_core.predict.clip_views import (
    ClipViews,
    needs_landmarks,
    reads_pictures,
)
from fer_core.predict.prediction import Prediction
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store
from fer_core.trial.fitted_model import Model

# Models that read several frames at once give this many scores a second; others score each frame.
SCORES_A_SECOND = 5.0
BATCH_CLIPS = 32  # windows that the model scores at once
FACES = 9  # pictures of the face above the timeline
SUFFIXES = (".png", ".jpg", ".pdf", ".svg")  # formats of the timeline
_CPU = torch.device("cpu")


def predict(model: Model, path: Path, *, cuts_given: bool = False) -> Prediction:
    """Score a video as one clip, as in training, and at each moment.

    A model that was trained on cut-out faces takes each frame for one, whole. With `cuts_given` the
    face is looked for and cut out first.

    A model that votes over frames, or that reads one frame, gives a score for each frame with a
    face. Any other model scores windows that are centred on moments at equal intervals.

    Raises: DataError if the video cannot be read or shows no face.
    """
    clip_views = _clip_views(model, path, cuts_given=cuts_given)
    times = video.times(path)
    rate = round(len(clip_views.usable) / times[-1], 6)
    places = np.round(times * rate, 6)  # in mean frames: 0, 1, 2, .. if the rate is constant
    reader = Reader(model, clip_views, step=model.frame_seconds * rate)
    clip = model.voted(reader.clip_scores())[0]
    usable = np.flatnonzero(clip_views.usable)
    volumes = any(stream.is_volume for stream in model.config.streams)
    if (model.config.votes and not volumes) or model.clip.frames == 1:
        moments, windows = places[usable], [np.array([frame]) for frame in usable]
    else:
        moments, windows = _windows(model, places, usable, rate)
    pictured = usable[np.linspace(0, len(usable) - 1, FACES).round().astype(np.intp)]
    return Prediction(
        classes=model.classes,
        clip=clip,
        seconds=moments / rate,
        over_time=model.voted(reader.scores(windows)),
        has_face=clip_views.usable,
        times=times,
        faces=clip_views.shown(pictured, "aligned", model),
        faces_seconds=times[pictured],
    )


def _windows(model: Model, places: Array, usable: Array, rate: float) -> tuple[Array, list[Array]]:
    """Choose moments at equal intervals, and the frames that the model reads around each moment.

    The frames are as far apart as in training. In place of an unusable one, the nearest usable one
    is read.

    `places` (frames + 1,) and the moments are in mean frames, of which there are `rate` a second.
    """
    begin, end = places[usable[0]], places[usable[-1] + 1]
    moments = np.arange(begin, end, max(1.0, rate / SCORES_A_SECOND))
    spread = np.arange(model.clip.frames) - (model.clip.frames - 1) / 2
    spread = spread * model.frame_seconds * rate
    # Rounded, so that two frames that lie equally near count as equally near.
    wanted = (np.round(moment + spread, 3)[:, None] for moment in moments)
    nearest = (np.abs(places[usable][None] - each).argmin(axis=1) for each in wanted)
    return moments, [usable[indices] for indices in nearest]


class Reader:
    """Scores windows of one clip's frames; windows that overlap share the encoded frames."""

    def __init__(self, model: Model, clip_views: ClipViews, *, step: float = 1.0) -> None:
        """Prepare to score the frames of a clip, which the model reads `step` frames apart.

        The step matters only for windows of one frame whose points are encoded as a change: they
        are compared with the frame `step` before.
        """
        self._model, self._clip_views, self._step = model, clip_views, max(1, round(step))
        self._frames: list[dict[int, Tensor]] = [{} for _ in model.encoders]

    def scores(self, windows: Sequence[Array]) -> Array:
        """Score N windows, each given by the indices of its T frames.

        Gives (N, T, K), or (N, 1, K) if the model scores a window as a whole. Windows in the order
        of time encode no frame twice.
        """
        return np.concatenate([self._model.scores(inputs) for inputs in self._batches(windows)])

    def clip_scores(self) -> Array:
        """Score the clip as a whole, as a trial does; gives (1, T, K) or (1, 1, K)."""
        picked = self._clip_views.picked(self._model)
        inputs = [self._stream_input(i, [frames]) for i, frames in enumerate(picked)]
        return self._model.scores(inputs)

    def _batches(self, windows: Sequence[Array]) -> Iterator[list[Tensor]]:
        for start in range(0, len(windows), BATCH_CLIPS):
            batch = windows[start : start + BATCH_CLIPS]
            yield [self._stream_input(i, batch) for i in range(len(self._frames))]

    def _stream_input(self, index: int, windows: Sequence[Array]) -> Tensor:
        """Encode windows for the stream of that index; each row is one window."""
        encoder = self._model.encoders[index]
        if isinstance(encoder, PointEncoder):  # its code of a frame may depend on the window
            return torch.stack([self._points(encoder, frames) for frames in windows])
        if isinstance(encoder, ImageEncoder) and encoder.stream.is_volume:
            return torch.cat(
                [encoder(self._crops(encoder, frames)[None], _CPU) for frames in windows]
            )
        known = self._frames[index]
        wanted = np.unique(np.concatenate(windows))
        for frame in [frame for frame in known if frame < wanted[0]]:
            del known[frame]  # windows in the order of time do not need it again
        new = np.array([frame for frame in wanted if frame not in known], np.intp)
        if len(new):
            encoded = encoder(self._crops(encoder, new)[None], _CPU)[0]
            known.update(zip(new.tolist(), encoded, strict=True))
        return torch.stack([torch.stack([known[int(f)] for f in frames]) for frames in windows])

    def _points(self, encoder: PointEncoder, frames: Array) -> Tensor:
        track = self._clip_views.points()
        return encoder(points_of(track, frames, step=self._step)[None], _CPU)[0]

    def _crops(self, encoder: ImageEncoder, frames: Array) -> Array:
        return self._clip_views.shown(frames, encoder.stream.view, self._model)


def _clip_views(model: Model, path: Path, *, cuts_given: bool) -> ClipViews:
    """Find the face of a video if the model needs it, and take the whole pictures if it may.

    Raises: DataError if the video cannot be read, or shows no face and the model needs one.
    """
    config, face, pictures = model.config, None, None
    if reads_pictures(config, model.missing) and not cuts_given:
        pictures = _track(GIVEN, path)
    if cuts_given or config.reads_landmarks:
        try:
            face = _track(model.landmarks, path)
        except DataError:
            if pictures is None or needs_landmarks(config, model.missing):
                raise
    return ClipViews(face=face, pictures=pictures, cuts_given=cuts_given)


def _track(engine: str, path: Path) -> Track:
    """Follow the face of a video by making the stage `faces` for it in a temporary store.

    Raises: DataError if the video shows no face or cannot be read.
    """
    if not path.exists():
        raise DataError(f"video {path} does not exist.")
    engine = best_engine() if engine == "data" else engine
    clip = Clip(
        clip=path.name,
        subject="",
        emotion="",
        authenticity=None,
        path=path,
        sha256=file_sha256(path),
    )
    manifest = Manifest(dataset="video", root=path.parent, clips=(clip,))
    with tempfile.TemporaryDirectory() as folder:
        shards = faces_stage.shards(manifest, engine, _CPU.type, Tally())
        faces = Faces(read_or_make(Store(Path(folder)), shards, Tally())[0])
        if faces.skipped:
            raise DataError(f"{path}: {next(iter(faces.skipped.values()))}")
        return faces.track(path.name)
