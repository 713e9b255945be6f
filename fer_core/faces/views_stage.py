"""The second stored stage, `views`: the frames that a model reads, each face as it shall look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.config import ClipConfig
from fer_core.errors import DataError
from fer_core.faces.follow import Image, encoded
from fer_core.faces.frontal.surface import Surface, reference
from fer_core.faces.sampling import Indices, pick
from fer_core.faces.tracks import PLACE, Faces, Track, decoded, packed, read_back, unpacked
from fer_core.faces.views import CROP_PIXELS, views
from fer_core.storage.stages import Shard
from fer_core.storage.store import Entry

BATCH_IMAGES = 64  # shown at a time
_CODE = 3  # raise it when the same input gives another result
_PICTURE = np.dtype(PLACE)


def shards(
    faces: Sequence[tuple[Shard, Entry]],
    window: ClipConfig,
    view: str,
    surface: Surface | None,
    device: str,
) -> list[Shard]:
    """Name the shards of the stage `views`, which `crops` reads.

    `meta` lists the clips that are in (`clips`), those that are not with the reason (`skipped`),
    and the frames of a clip (`frames`).
    """
    frontal = view.startswith("frontal")
    parts = {
        "code": _CODE,
        "window": window.active(),
        "view": view,
        "pixels": CROP_PIXELS,
        "versions": [version("opencv-python")],
        # What follows changes frontal views only, and so the key of these alone.
        "surface": (surface or reference()).sha256 if frontal else None,
        "torch": [version("torch"), device] if frontal else None,
    }
    return [
        Shard(
            "views",
            parts | {"faces": shard.key},
            partial(_make, entry, window, view, surface, device),
        )
        for shard, entry in faces
    ]


def crops(entry: Entry) -> Image:
    """Decode a shard's views, (clips, T, 224, 224, 3) RGB."""
    clips, frames = len(entry.meta["clips"]), entry.meta["frames"]
    rows, files = unpacked(entry.array, _PICTURE, clips * frames)
    shape = (clips, frames, CROP_PIXELS, CROP_PIXELS, 3)
    images = [decoded(files, row) for row in rows]
    return np.stack(images).reshape(shape) if images else np.zeros(shape, np.uint8)


def shown(
    track: Track, indices: Indices, view: str, *, surface: Surface | None, device: str
) -> Image:
    """Show frames of a track as the stage stores them, (n, 224, 224, 3).

    Raises: DataError where the view cannot show one.
    """
    images = views(
        track.pictures(indices),
        track.crop_points(indices),
        view=view,
        surface=surface,
        device=device,
    )
    return np.stack([read_back(encoded(image)) for image in images])


@dataclass(frozen=True)
class _Picked:
    """A clip's frames that the window picks."""

    clip: str
    pictures: list[Image]  # T of them
    points: Array  # (T, 68, 2) in their pixels


def _make(
    entry: Entry, window: ClipConfig, view: str, surface: Surface | None, device: str
) -> tuple[Array, dict[str, Any]]:
    faces = Faces(entry)
    show = partial(views, view=view, surface=surface, device=device)
    files: dict[str, list[bytes]] = {}
    skipped = dict(faces.skipped)
    at_once = max(1, BATCH_IMAGES // window.frames)
    for first in range(0, len(faces.clips), at_once):
        picked = [_pick(faces, clip, window) for clip in faces.clips[first : first + at_once]]
        for clip, shown in _shown(picked, show):
            if isinstance(shown, str):
                skipped[clip] = shown
            else:
                files[clip] = shown
    flat = [file for shown in files.values() for file in shown]
    meta = {"clips": list(files), "skipped": skipped, "frames": window.frames}
    return packed(np.zeros(len(flat), _PICTURE), flat), meta


def _pick(faces: Faces, clip: str, window: ClipConfig) -> _Picked:
    track = faces.track(clip)
    indices = pick(track.points, track.usable, window)
    return _Picked(clip, track.pictures(indices), track.crop_points(indices))


def _shown(
    picked: list[_Picked], show: Callable[[list[Image], Array], Image]
) -> Iterator[tuple[str, list[bytes] | str]]:
    """Give each clip's views as JPEG files, or why it has none: one clip must not spoil others."""
    try:
        images = show(
            [picture for one in picked for picture in one.pictures],
            np.concatenate([one.points for one in picked]),
        )
    except DataError as error:
        if len(picked) == 1:
            yield picked[0].clip, str(error)
        else:
            for one in picked:
                yield from _shown([one], show)
        return
    for one, group in zip(picked, np.split(images, len(picked)), strict=True):
        yield one.clip, [encoded(image) for image in group]
