"""Where a trial's streams come from: the usable clips, and what each fold is given of them.

A source lays out what is stored of its stream, in the order of the clips that all streams can
show. `fit` fits on the training clips whatever is fitted, and says how batches are made.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.arrays import Array
from fer_core.config import CHANGES, FITTED, ClipConfig, GeometryConfig, StreamConfig
from fer_core.faces import views_stage
from fer_core.faces.point_encodings import Procrustes
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces, Track
from fer_core.features import activations, extraction, pretraining
from fer_core.features import reduction as reduction_
from fer_core.features.activations import Activations
from fer_core.features.augment import augmented
from fer_core.features.context import TrialContext
from fer_core.features.encoders import ImageEncoder, PointEncoder, encode
from fer_core.features.reduction import Reduction
from fer_core.models.backbones import Backbone
from fer_core.models.network import StreamInput
from fer_core.storage.store import key_of

Batch = Callable[[Array, np.random.Generator | None], Tensor]
Encoder = ImageEncoder | PointEncoder


@dataclass(frozen=True, kw_only=True)
class FoldStream:
    """What a fold is given of one stream."""

    encoder: Encoder  # fitted on the training clips
    given: StreamInput
    batch: Batch  # of rows (B,), augmented where a generator is given
    stored_blocks: nn.ModuleList  # the blocks that ran before storing


class Source(Protocol):
    """One stream of a trial."""

    clips: tuple[str, ...]  # that it can show
    skipped: dict[str, str]  # clip: why it cannot be used
    weights_source: str | None

    def arrange(self, clips: Sequence[str]) -> None:
        """Take up the clips that all streams can show, in the order of the trial's rows."""

    def fit(self, train: Array) -> FoldStream:
        """Fit on the rows `train`, and never look at another."""


def source(stream: object, context: TrialContext) -> "ImageStream | PointStream":
    """Open the source of a stream."""
    if isinstance(stream, GeometryConfig):
        return PointStream(stream, context)
    assert isinstance(stream, StreamConfig)
    return ImageStream(stream, context)


class ImageStream:
    """A stream of views through a backbone."""

    def __init__(self, stream: StreamConfig, context: TrialContext) -> None:
        self._stream, self._context = stream, context
        study_data, config = context.study_data, context.config
        self._backbone = extraction.open_backbone(stream, study_data.weights, study_data.seed)
        self.weights_source: str | None = self._backbone.source
        self._views = context.views(stream.view)
        entries = [entry for _, entry in self._views]
        self.clips = tuple(clip for entry in entries for clip in entry.meta["clips"])
        self.skipped = {k: v for entry in entries for k, v in entry.meta["skipped"].items()}
        self._live = config.is_live(stream)
        self._pooling = config.stored_pooling(stream) if stream.frozen else "none"
        self._rows = np.arange(len(self.clips))
        self._order: tuple[str, ...] = self.clips
        self._opened: Activations | None = None
        self._maps: Array | None = None  # of what is opened: it may be too large to be held
        self._crops: Array | None = None

    def arrange(self, clips: Sequence[str]) -> None:
        place = {clip: row for row, clip in enumerate(self.clips)}
        self._rows = np.array([place[clip] for clip in clips], np.intp)
        self._order = tuple(clips)

    def fit(self, train: Array) -> FoldStream:
        stream, device = self._stream, self._context.device
        encoder = self._encoder(self._backbone)
        if stream.backbone in FITTED and stream.weights == "fitted":
            encoder = replace(encoder, backbone=self._pretrained(encoder, train))
        depth, maps, unreduced = 0 if self._live else stream.freeze_depth, None, None
        if self._live:
            batch = self._live_batch(encoder)
        elif stream.frozen:
            stored = self._activations(encoder)
            encoder, reduced = self._reduced(encoder, stored, train)
            batch = _rows_of(reduced)
            maps = None if stream.is_volume else self._read(stored).shape[2:]
            unreduced = _unreduced(encoder)
        else:
            batch = self._partial_batch(encoder)
        blocks = copy.deepcopy(encoder.backbone.blocks[depth:]).to(device)
        frozen = stream.freeze_depth if self._live else 0
        return FoldStream(
            encoder=encoder,
            given=StreamInput(batch(train[:1], None), blocks, frozen, maps, unreduced),
            batch=batch,
            stored_blocks=encoder.backbone.blocks[:depth],
        )

    def _encoder(self, backbone: Backbone) -> ImageEncoder:
        stream, config = self._stream, self._context.config
        return ImageEncoder(
            stream=stream,
            backbone=backbone,
            live=self._live,
            pooling=config.stored_pooling(stream),
            reduction=None,
            precision="float32" if self._live else self._context.machine.of(stream),
        )

    def _activations(self, encoder: ImageEncoder) -> Activations:
        """Open the activations of all clips; those of one backbone are asked for once."""
        if self._opened is None or self._opened.encoder.backbone is not encoder.backbone:
            self._opened = activations.open_activations(encoder, self._context, self._views)
            self._maps = None
        return self._opened

    def _read(self, stored: Activations) -> Array:
        if self._maps is None:
            self._maps = stored.maps(self._pooling, self._rows)
        return self._maps

    def _reduced(
        self, encoder: ImageEncoder, stored: Activations, train: Array
    ) -> tuple[ImageEncoder, Tensor]:
        """Standardise and reduce whole frozen features, as the training clips have it."""
        context, stream, maps = self._context, self._stream, self._read(stored)
        axes = 1 if stream.is_volume else 2
        dim, frames = math.prod(maps.shape[axes:]), len(train) * math.prod(maps.shape[1:axes])
        rows = self._rows.tobytes(), train.tobytes()
        key = ("reduced", context.study_data.store, stored.keys, self._pooling, stored.stored, rows)

        def fitted(fit: Callable[[Array, reduction_.Fold], Reduction]) -> tuple[Reduction, Tensor]:
            flat = extraction.pooled(maps, stream, "none") if self._pooling == "none" else maps
            clips = [self._order[row] for row in train]
            lineage = {"features": stored.keys, "pooling": self._pooling, "clips": clips}
            fold = reduction_.Fold(context.store, lineage, context.tally)
            reduction = fit(flat[train].reshape(-1, dim), fold)
            return reduction, torch.from_numpy(reduction(flat)).to(context.device)

        if stream.pca_dim is not None:
            count = reduction_.largest(frames, dim, stream.pca_dim)
            principal = partial(reduction_.principal, count=count)
            full, projected = context.cached((*key, "pca", count), lambda: fitted(principal))
            reduction = reduction_.cut(full, projected[train], stream.pca_dim)
            reduced = projected[..., : stream.pca_dim] / reduction.spread
        else:
            exact = frames < dim and reduction_.is_exact(context.config, stream)
            fit = reduction_.exact if exact else reduction_.standard
            reduction, reduced = context.cached((*key, fit.__name__), lambda: fitted(fit))
        return replace(encoder, reduction=reduction), reduced

    def _partial_batch(self, encoder: ImageEncoder) -> Batch:
        """Read what the frozen blocks give, or compute it for each batch, to the same values."""
        device, stored = self._context.device, self._activations(encoder)
        if stored.stored:
            gathered = stored.gatherer(self._rows)
            return lambda rows, _: torch.from_numpy(gathered(rows)).to(device).float()

        def computed(rows: Array, _: np.random.Generator | None) -> Tensor:
            crops = self._sized(encoder)[rows]
            self._context.tally.add(backbone_images=crops.shape[0] * crops.shape[1])
            return encoder(crops, device)

        return computed

    def _live_batch(self, encoder: ImageEncoder) -> Batch:
        device, augment = self._context.device, self._context.config.augment

        def batch(rows: Array, generator: np.random.Generator | None) -> Tensor:
            crops: Array | Tensor = self._sized(encoder)[rows]
            if augment is not None and generator is not None:
                crops = augmented(torch.from_numpy(np.asarray(crops)), augment, generator)
            return encoder.preprocessed(crops, device)

        return batch

    def _sized(self, encoder: ImageEncoder) -> Array:
        """Give the crops of all clips (N, T, S, S, 3); they are held, and must not be changed."""
        if self._crops is None:
            keys = tuple(shard.key for shard, _ in self._views)
            pixels = extraction.crop_pixels(self._stream, encoder.backbone)
            key = ("crops", keys, pixels, self._rows.tobytes())
            self._crops = self._context.cached(key, lambda: self._resized(encoder))
        return self._crops

    def _resized(self, encoder: ImageEncoder) -> Array:
        crops = (views_stage.crops(entry) for _, entry in self._views)
        return np.concatenate([encoder.sized(clip) for clip in crops if len(clip)])[self._rows]

    def _pretrained(self, encoder: ImageEncoder, train: Array) -> Backbone:
        context = self._context
        lineage = {
            "stream": asdict(replace(self._stream, freeze_depth=0, pooling="none", pca_dim=None)),
            "views": [shard.key for shard, _ in self._views],
            "clips": [self._order[row] for row in train],
            "seed": context.study_data.seed,
        }

        def images(most: int) -> Tensor:
            sized = self._sized(encoder)
            crops = sized[train].reshape(-1, 1, *sized.shape[2:])
            spread = np.linspace(0, len(crops) - 1, min(most, len(crops))).round().astype(np.intp)
            return encoder.preprocessed(crops[spread], context.device).flatten(0, 1)

        return context.cached(
            ("pretrain", context.study_data.store, key_of(lineage)),
            lambda: pretraining.fitted(encoder.backbone, self._stream, images, lineage, context),
        )


def _unreduced(encoder: ImageEncoder) -> int | None:
    """Count the features that a reduction without loss was made of; None where there is none."""
    reduction = encoder.reduction
    if reduction is None or reduction.basis is None or encoder.stream.pca_dim is not None:
        return None
    return int(reduction.basis.shape[1])


class PointStream:
    """A stream of the 68 points."""

    def __init__(self, geometry: GeometryConfig, context: TrialContext) -> None:
        self._geometry, self._context = geometry, context
        shards = [Faces(entry) for _, entry in context.faces]
        self.clips = tuple(clip for faces in shards for clip in faces.clips)
        self.skipped = {k: v for faces in shards for k, v in faces.skipped.items()}
        self.weights_source: str | None = None
        self._rows = np.arange(len(self.clips))

        def read() -> Array:
            tracks = (faces.track(clip) for faces in shards for clip in faces.clips)
            points = [points_read(track, context.window) for track in tracks]
            return np.stack(points) if points else np.zeros((0, 2, 68, 2))

        self._points = context.cached(("points", context.data, context.window), read)

    def arrange(self, clips: Sequence[str]) -> None:
        place = {clip: row for row, clip in enumerate(self.clips)}
        self._rows = np.array([place[clip] for clip in clips], np.intp)

    def fit(self, train: Array) -> FoldStream:
        context, encoding = self._context, self._geometry.encoding

        def fitted() -> tuple[Procrustes | None, Reduction, Tensor]:
            points = self._points[self._rows]
            turned = encoding in ("procrustes", *CHANGES)
            mean_shape = Procrustes.fit(points[train]) if turned else None
            encoded = encode(points, encoding, mean_shape)
            reduction = reduction_.standard(encoded[train].reshape(-1, encoded.shape[-1]))
            return mean_shape, reduction, torch.from_numpy(reduction(encoded)).to(context.device)

        rows = self._rows.tobytes(), train.tobytes()
        key = ("encoded", context.data, context.window, encoding, rows)
        mean_shape, reduction, encoded = context.cached(key, fitted)
        encoder = PointEncoder(geometry=self._geometry, mean_shape=mean_shape, reduction=reduction)
        batch = _rows_of(encoded)
        given = StreamInput(batch(train[:1], None), nn.ModuleList())
        return FoldStream(encoder=encoder, given=given, batch=batch, stored_blocks=nn.ModuleList())


def points_read(track: Track, window: ClipConfig) -> Array:
    """Give the points (1 + T, 68, 2) of a clip's first usable frame, and of those that are read."""
    indices = pick(track.points, track.usable, window)
    return track.points[[int(np.flatnonzero(track.usable)[0]), *indices]]


def _rows_of(given: Tensor) -> Batch:
    return lambda rows, _: given[torch.from_numpy(rows).to(given.device)]
