"""The first stored stage: from a clip's file to aligned face views, in one pass over its frames."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.config import ONE_FRAME, ClipConfig
from fer_core.errors import DataError
from fer_core.faces import landmarks, video
from fer_core.faces.views import CROP_PIXELS, views
from fer_core.manifest import Clip, Manifest, file_sha256
from fer_core.stages import Shard, Tally
from fer_core.store import Array

SHARD_CLIPS = 32
_PACKAGES = {"data": "numpy", "dlib": "dlib-bin", "face_alignment": "face-alignment"}
_CODE = 1  # raise it when the same input gives another result


def shards(
    manifest: Manifest, clip: ClipConfig, view: str, engine: str, device: str, tally: Tally
) -> list[Shard]:
    """Name the shards of the stage `views`: (clips, T, 224, 224, 3) uint8 RGB, memory-mapped.

    A clip that cannot be read or shows no face is left out; `meta` lists the clips that are in
    (`clips`), those that are not with the reason (`skipped`), and holds nothing else.
    """
    window = ONE_FRAME if manifest.stills else clip
    groups = [
        manifest.clips[i : i + SHARD_CLIPS] for i in range(0, len(manifest.clips), SHARD_CLIPS)
    ]
    return [_shard(group, window, view, engine, device, tally) for group in groups]


def _shard(
    clips: Sequence[Clip], window: ClipConfig, view: str, engine: str, device: str, tally: Tally
) -> Shard:
    points = [_landmarks_sha256(clip, engine) for clip in clips]
    parts = {
        "code": _CODE,
        "clips": [[clip.clip, clip.sha256, p] for clip, p in zip(clips, points, strict=True)],
        "window": asdict(window),
        "view": view,
        "pixels": CROP_PIXELS,
        "landmarks": [engine, _engine_sha256(engine), device],
        "versions": [version("av"), version("opencv-python"), version(_PACKAGES[engine])],
    }
    return Shard("views", parts, lambda: _make(clips, window, view, engine, device, tally))


@cache  # of 100 MB and more; a worker asks again for each trial
def _engine_sha256(engine: str) -> tuple[str, ...]:
    return () if engine == "data" else tuple(map(file_sha256, landmarks.files(engine)))


def _landmarks_sha256(clip: Clip, engine: str) -> str | None:
    if engine != "data":
        return None
    if clip.landmarks is None:
        raise DataError(f"clip '{clip.clip}' comes without landmarks; find them with dlib.")
    return file_sha256(clip.landmarks)


def _make(
    clips: Sequence[Clip], window: ClipConfig, view: str, engine: str, device: str, tally: Tally
) -> tuple[Array, dict[str, Any]]:
    find = None if engine == "data" else landmarks.engine(engine, device=device)
    kept: dict[str, Array] = {}
    skipped: dict[str, str] = {}
    for clip in clips:
        try:
            kept[clip.clip] = _views(clip, window, view, find, tally)
        except DataError as error:
            skipped[clip.clip] = str(error)
    shape = (0, window.frames, CROP_PIXELS, CROP_PIXELS, 3)
    array = np.stack(list(kept.values())) if kept else np.zeros(shape, np.uint8)
    return array, {"clips": list(kept), "skipped": skipped}


def _views(
    clip: Clip, window: ClipConfig, view: str, find: landmarks.Engine | None, tally: Tally
) -> Array:
    frames = video.read(clip.path, window)
    tally.add(frames_decoded=frames.decoded)
    if find is None:
        points = _given_points(clip.landmarks, frames)
    else:
        points, _ = landmarks.track(frames.images, find)
        tally.add(faces_searched=len(frames.images))
    return views(frames.images, points, view=view)


def _given_points(path: Path | None, frames: video.Frames) -> Array:
    if path is None:
        raise DataError("it comes without landmarks.")
    points: Array = np.load(path, allow_pickle=False)
    if len(points) != frames.total:
        raise DataError(
            f"{path} holds points of {len(points)} frames, the clip has {frames.total}."
        )
    return points[list(frames.indices)]
