"""Made data of any size: a store that has the points and the features of clips that do not exist.

A hidden vector of each frame has a direction for its class, which grows over the clip, one for its
person, and noise. Points and feature maps follow from it by random linear maps. The stages are
written into the store under the keys that trials ask for, so that everything from there on is real,
and no pixel is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from fer_core.arrays import Array
from fer_core.config import ClipConfig, StreamConfig
from fer_core.data import protocol
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.study_data import StudyData
from fer_core.faces import faces_stage, views_stage
from fer_core.faces.follow import FOUND
from fer_core.faces.tracks import FRAME, JPEG_FIELDS, packed
from fer_core.features import extraction, speed
from fer_core.models.profile import profile
from fer_core.storage.stages import Shard, Tally
from fer_core.storage.store import Entry, Store

EMOTIONS = ("anger", "happiness", "sadness", "surprise")
WINDOW = ClipConfig(start=0.0, end=1.0, frames=3)
_HIDDEN = 32  # length of a frame's hidden vector
_CLASS, _PERSON, _NOISE = 2.0, 0.5, 0.6  # deviations along them; the class stands out at the end
_POINTS_PIXELS = 1.5  # how far a unit of the hidden vector moves a point
_MAP_NOISE = 1.0
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class MadeSet:
    """Clips of made people, and the hidden vectors (N, T, H) of their frames."""

    manifest: Manifest
    hidden: Array


def made(clips: int, seed: int) -> MadeSet:
    """Make `clips` clips; a person shows each emotion twice, unless that leaves too few people."""
    rng = np.random.default_rng(seed)
    people = max(15, clips // 8)
    labels, owners = np.arange(clips) % len(EMOTIONS), np.arange(clips) // 4 % people
    prototypes = rng.standard_normal((len(EMOTIONS), _HIDDEN)) / np.sqrt(_HIDDEN)
    persons = rng.standard_normal((people, _HIDDEN)) * _PERSON
    grown = np.linspace(0, 1, WINDOW.frames)[None, :, None]
    hidden = prototypes[labels][:, None] * _CLASS * grown + persons[owners][:, None]
    hidden = hidden + rng.standard_normal((clips, WINDOW.frames, _HIDDEN)) * _NOISE
    found = tuple(
        Clip(
            clip=f"{number:06d}",
            subject=f"p{owners[number]:04d}",
            emotion=EMOTIONS[labels[number]],
            authenticity=None,
            path=Path(f"{number:06d}"),
            sha256=f"made {seed} {number}",
            landmarks=Path(f"{number:06d}.npy"),
            landmarks_sha256=f"made {seed} {number}",
        )
        for number in range(clips)
    )
    return MadeSet(manifest=Manifest(dataset="made", root=Path(), clips=found), hidden=hidden)


def study_data(one: MadeSet, store: Path, streams: Sequence[StreamConfig], folds: int) -> StudyData:
    """Write the stages that these streams and the points read, and split the people."""
    _write(one, Store(store), streams)
    clips = one.manifest.clips
    split = protocol.sealed_and_folds([c.subject for c in clips], [c.emotion for c in clips])
    rest = tuple(subject for fold in split.folds[folds:] for subject in fold)
    return StudyData(
        manifest=one.manifest,
        protocol=protocol.Protocol(
            name=split.name, sealed=split.sealed, folds=split.folds[:folds], train=rest
        ),
        task="emotion",
        seed=0,
        store=store,
        weights={},
        landmarks="data",
        clip=WINDOW,
    )


def _write(one: MadeSet, store: Store, streams: Sequence[StreamConfig]) -> None:
    rng = np.random.default_rng(1)  # of the maps from hidden vectors, which all sets share
    face, to_points = rng.uniform(40, 160, (68, 2)), rng.standard_normal((_HIDDEN, 136))
    place_of = {clip.clip: place for place, clip in enumerate(one.manifest.clips)}
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    faces = []
    for shard in faces_stage.shards(one.manifest, "data", "cpu", Tally()):
        names = [name for name, *_ in shard.parts["clips"]]
        hidden = one.hidden[[place_of[name] for name in names]].reshape(-1, _HIDDEN)
        rows = np.zeros(len(hidden), FRAME)
        moved = (hidden @ to_points).reshape(-1, 68, 2) / np.sqrt(_HIDDEN) * _POINTS_PIXELS
        rows["points"], rows["state"], rows["scale"] = face + moved, FOUND, 1.0
        spans = {n: (i * WINDOW.frames, (i + 1) * WINDOW.frames) for i, n in enumerate(names)}
        meta = {"clips": spans, "skipped": {}, "notes": {}}
        faces.append((shard, store.put("faces", shard.key, packed(rows, [jpeg] * len(rows)), meta)))
    views = []
    for shard in views_stage.shards(faces, WINDOW, "aligned", None):
        names = list(faces[len(views)][1].meta["clips"])
        files = [jpeg] * len(names) * WINDOW.frames
        meta = {"clips": names, "skipped": {}, "frames": WINDOW.frames}
        array = packed(np.zeros(len(files), np.dtype(JPEG_FIELDS)), files)
        views.append((shard, store.put("views", shard.key, array, meta)))
    for stream in streams:
        _write_features(one, store, views, stream, place_of)


def _write_features(
    one: MadeSet,
    store: Store,
    views: list[tuple[Shard, Entry]],
    stream: StreamConfig,
    place_of: dict[str, int],
) -> None:
    shape = profile(stream, WINDOW.frames).shape(stream.freeze_depth)
    rng = np.random.default_rng(stream.freeze_depth)
    to_maps = rng.standard_normal((_HIDDEN, int(np.prod(shape)))).astype(np.float32)
    shards = extraction.shards(
        views,
        stream,
        extraction.open_backbone(stream, {}, 0),
        device=_CPU,
        precision=speed.machine(store, _CPU).of(stream),
        tally=Tally(),
    )
    for shard, (_, entry) in zip(shards, views, strict=True):
        hidden = one.hidden[[place_of[name] for name in entry.meta["clips"]]].astype(np.float32)
        maps = hidden @ to_maps
        maps = np.maximum(maps + rng.standard_normal(maps.shape, np.float32) * _MAP_NOISE, 0)
        array = maps.astype(np.float16).reshape(*hidden.shape[:2], *shape)
        store.put("features", shard.key, array, {"seconds": 0.0})
