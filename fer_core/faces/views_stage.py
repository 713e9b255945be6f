"""Make the second stored stage, `views`: the frames that a model reads, as crops of the face.

Each shard of the stage `faces` gives one shard of views for a clip window and a kind of view.
`search` makes the shards ahead of the trials, `features` reads them, and `predict` makes the same
views of a new video without the store.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from fer_core.arrays import Array, Image
from fer_core.config import GIVEN, ClipConfig
from fer_core.errors import DataError
from fer_core.faces.follow import encode_jpeg
from fer_core.faces.frontal.surface import Surface, reference
from fer_core.faces.sampling import Indices, pick, without_points
from fer_core.faces.tracks import (
    JPEG_FIELDS,
    Faces,
    Track,
    decode_jpeg,
    decode_record,
    packed,
    unpacked,
)
from fer_core.faces.views import CROP_PIXELS, views
from fer_core.storage.stages import Shard
from fer_core.storage.store import Entry

BATCH_IMAGES = 64  # faces that are turned into views at once
_CODE = 3  # raise it whenever a change makes the same input give another result
_RECORD = np.dtype(JPEG_FIELDS)


def shards(
    faces: Sequence[tuple[Shard, Entry]],
    window: ClipConfig,
    view: str,
    surface: Surface | None,
    whole: Sequence[tuple[Shard, Entry]] | None = None,
) -> list[Shard]:
    """List the shards of the stage `views`, one for each shard of `faces`; `crops` reads them.

    The `meta` of an entry lists the clips that have views (`clips`), those that have none with the
    reason (`skipped`), and the number of frames of each clip (`frames`). `whole` are the shards of
    the whole pictures, of the same clips as those of `faces`: where a clip has no such view, its
    whole picture takes the place, and `fallbacks` lists these clips too. All views are made on the
    CPU, so that machines with and without a GPU share them.
    """
    frontal = view.startswith("frontal")
    parts = {
        "code": _CODE,
        "window": window.active(),
        "view": view,
        "pixels": CROP_PIXELS,
        "versions": [version("opencv-python")],
        # The next two change frontal views only, so the keys of other views leave them out.
        "surface": (surface or reference()).sha256 if frontal else None,
        "torch": [version("torch"), "cpu"] if frontal else None,
    }
    make = partial(_make, window=window, view=view, surface=surface)
    if whole is None:
        return [
            Shard("views", parts | {"faces": shard.key}, partial(make, entry))
            for shard, entry in faces
        ]
    return [
        Shard(
            "views",
            parts | {"faces": shard.key, "whole": whole_shard.key},
            partial(make, entry, whole_entry),
        )
        for (shard, entry), (whole_shard, whole_entry) in zip(faces, whole, strict=True)
    ]


def crops(entry: Entry) -> Image:
    """Decode the views of a shard, (clips, T, 224, 224, 3) RGB."""
    clips, frames = len(entry.meta["clips"]), entry.meta["frames"]
    rows, files = unpacked(entry.array, _RECORD, clips * frames)
    shape = (clips, frames, CROP_PIXELS, CROP_PIXELS, 3)
    images = [decode_record(files, row) for row in rows]
    return np.stack(images).reshape(shape) if images else np.zeros(shape, np.uint8)


def views_of_frames(track: Track, indices: Indices, view: str, *, surface: Surface | None) -> Image:
    """Make the views of some frames of one clip, (n, 224, 224, 3), without the store.

    They are written to JPEG and read back, so that they equal what the stage stores to the bit.

    Raises: DataError if a frame's points fit no face.
    """
    images = views(
        track.pictures(indices),
        track.crop_points(indices),
        view=view,
        surface=surface,
    )
    return np.stack([decode_jpeg(encode_jpeg(image)) for image in images])


@dataclass(frozen=True)
class _PickedFrames:
    """The T frames of one clip that the window picks."""

    clip: str
    pictures: list[Image]  # T cuts of the face
    points: Array  # (T, 68, 2) in the pixels of the cuts


def _make(
    entry: Entry,
    whole: Entry | None = None,
    *,
    window: ClipConfig,
    view: str,
    surface: Surface | None,
) -> tuple[Array, dict[str, Any]]:
    """Make the views of a shard of `faces`; a clip without one is shown as it is in `whole`."""
    faces = Faces(entry)
    make_views = partial(views, view=view, surface=surface)
    files, reasons = _made(faces, faces.clips, window, make_views)
    skipped = dict(faces.skipped) | reasons
    meta: dict[str, Any] = {"frames": window.frames}
    if whole is not None:
        pictures = Faces(whole)
        wanted = [clip for clip in pictures.clips if clip in skipped]
        shown, _ = _made(pictures, wanted, without_points(window), partial(views, view=GIVEN))
        files |= shown
        skipped = {clip: reason for clip, reason in skipped.items() if clip not in shown}
        meta["fallbacks"] = list(shown)
    flat = [file for jpegs in files.values() for file in jpegs]
    meta |= {"clips": list(files), "skipped": skipped}
    return packed(np.zeros(len(flat), _RECORD), flat), meta


def _made(
    faces: Faces,
    clips: Sequence[str],
    window: ClipConfig,
    make_views: Callable[[list[Image], Array], Image],
) -> tuple[dict[str, list[bytes]], dict[str, str]]:
    """Make the views of some clips, a few at a time.

    Gives each clip's views as JPEG files, and why the other clips have none.
    """
    files: dict[str, list[bytes]] = {}
    skipped: dict[str, str] = {}
    clips_at_once = max(1, BATCH_IMAGES // window.frames)
    for first in range(0, len(clips), clips_at_once):
        names = clips[first : first + clips_at_once]
        picked = [_pick(faces, clip, window) for clip in names]
        for clip, jpegs_or_reason in _encoded_views(picked, make_views):
            if isinstance(jpegs_or_reason, str):
                skipped[clip] = jpegs_or_reason
            else:
                files[clip] = jpegs_or_reason
    return files, skipped


def _pick(faces: Faces, clip: str, window: ClipConfig) -> _PickedFrames:
    track = faces.track(clip)
    indices = pick(track.points, track.usable, window)
    return _PickedFrames(clip, track.pictures(indices), track.crop_points(indices))


def _encoded_views(
    picked: list[_PickedFrames], make_views: Callable[[list[Image], Array], Image]
) -> Iterator[tuple[str, list[bytes] | str]]:
    """Give each clip's views as JPEG files, or the reason why it has none.

    If the clips fail together, each is tried alone, so that one bad clip does not spoil the others.
    """
    try:
        images = make_views(
            [picture for one in picked for picture in one.pictures],
            np.concatenate([one.points for one in picked]),
        )
    except DataError as error:
        if len(picked) == 1:
            yield picked[0].clip, str(error)
        else:
            for one in picked:
                yield from _encoded_views([one], make_views)
        return
    for one, group in zip(picked, np.split(images, len(picked)), strict=True):
        yield one.clip, [encode_jpeg(image) for image in group]
