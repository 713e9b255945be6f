"""Read a face's emotion from a video with an exported model, clip-wise and over time.

    python -m fer_core.predict DIR video.mp4

prints the probabilities and draws them over time, `video-timeline.png`.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.data.manifest import Clip, Manifest
from fer_core.errors import DataError
from fer_core.faces import faces_stage, video, views_stage
from fer_core.faces.landmarks import best_engine
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces, Track
from fer_core.features.encoders import ImageEncoder, PointEncoder
from fer_core.predict.prediction import Prediction
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store
from fer_core.trial.fitted_model import Model

SCORES_A_SECOND = 5.0  # of models that read several frames at once; others score each frame
BATCH_CLIPS = 32
FACES = 9  # above the timeline
SUFFIXES = (".png", ".jpg", ".pdf", ".svg")
_CPU = torch.device("cpu")


def predict(model: Model, path: Path) -> Prediction:
    """Score a video.

    Raises: DataError where it cannot be read or shows no face.
    """
    track = _track(model, path)
    rate = video.frames_per_second(path)
    step = model.frame_seconds * rate
    reader = Reader(model, track, step=step)
    clip = model.voted(reader.scores([pick(track.points, track.usable, model.clip)]))[0]
    usable = np.flatnonzero(track.usable)
    volumes = any(stream.is_volume for stream in model.config.streams)
    if (model.config.votes and not volumes) or model.clip.frames == 1:
        moments, windows = usable, [np.array([frame]) for frame in usable]
    else:
        moments = np.unique(np.arange(usable[0], usable[-1] + 1, max(1.0, rate / SCORES_A_SECOND)))
        spread = np.arange(model.clip.frames) - (model.clip.frames - 1) / 2
        nearest = (np.abs(usable[None] - (m + spread * step)[:, None]) for m in moments)
        windows = [usable[distance.argmin(axis=1)] for distance in nearest]
    seen = usable[np.linspace(0, len(usable) - 1, FACES).round().astype(np.intp)]
    return Prediction(
        classes=model.classes,
        clip=clip,
        seconds=moments / rate,
        over_time=model.voted(reader.scores(windows)),
        shown=track.usable,
        rate=rate,
        faces=views_stage.views_of_frames(track, seen, "aligned", surface=None, device=_CPU.type),
        faces_seconds=seen / rate,
    )


class Reader:
    """Scores windows of a track's frames, and encodes no frame twice."""

    def __init__(self, model: Model, track: Track, *, step: float = 1.0) -> None:
        """Take frames to be read `step` apart where one alone is scored by its change."""
        self._model, self._track, self._step = model, track, max(1, round(step))
        self._usable = np.flatnonzero(track.usable)
        self._first = int(self._usable[0])
        self._frames: list[dict[int, Tensor]] = [{} for _ in model.encoders]

    def scores(self, windows: Sequence[Array]) -> Array:
        """Score windows, each of T frames: (N, T, K), or (N, 1, K) where clips are seen whole."""
        return np.concatenate([self._model.scores(given) for given in self._batches(windows)])

    def _batches(self, windows: Sequence[Array]) -> Iterator[list[Tensor]]:
        for start in range(0, len(windows), BATCH_CLIPS):
            batch = windows[start : start + BATCH_CLIPS]
            yield [self._given(i, batch) for i in range(len(self._frames))]

    def _given(self, index: int, windows: Sequence[Array]) -> Tensor:
        encoder = self._model.encoders[index]
        if isinstance(encoder, PointEncoder):  # a window may have to do with its own frames alone
            return torch.stack([self._points(encoder, frames) for frames in windows])
        if isinstance(encoder, ImageEncoder) and encoder.stream.is_volume:
            return torch.cat(
                [encoder(self._crops(encoder, frames)[None], _CPU) for frames in windows]
            )
        known = self._frames[index]
        wanted = np.unique(np.concatenate(windows))
        for frame in [frame for frame in known if frame < wanted[0]]:
            del known[frame]  # windows go on in time
        new = np.array([frame for frame in wanted if frame not in known], np.intp)
        if len(new):
            encoded = encoder(self._crops(encoder, new)[None], _CPU)[0]
            known.update(zip(new.tolist(), encoded, strict=True))
        return torch.stack([torch.stack([known[int(f)] for f in frames]) for frames in windows])

    def _points(self, encoder: PointEncoder, frames: Array) -> Tensor:
        before = [] if len(frames) > 1 else self._usable[self._usable <= frames[0] - self._step]
        read = [self._first, *before[-1:], *frames]
        return encoder(self._track.points[read][None], _CPU)[0, -len(frames) :]

    def _crops(self, encoder: ImageEncoder, frames: Array) -> Array:
        view = encoder.stream.view
        return views_stage.views_of_frames(
            self._track, frames, view, surface=self._model.surface, device=_CPU.type
        )


def _track(model: Model, path: Path) -> Track:
    """Follow the face of a video, as the stage `faces` does.

    Raises: DataError where there is none, or the video cannot be read.
    """
    if not path.exists():
        raise DataError(f"video {path} does not exist.")
    engine = best_engine() if model.landmarks == "data" else model.landmarks
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
