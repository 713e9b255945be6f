"""Step 2 of the way from a config to its first batch: each stream of a trial, fold by fold.

`trial.trial_data` opens every stream of a config with `open_stream`, learns which clips it can
show, and gives it the clips that all streams can show. For each fold, `fit` then fits whatever is
fitted before training (a reduction, a mean face, unsupervised weights) on the training clips alone.
It gives a `FoldStream`, whose `batch` makes the tensors that the network reads.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.arrays import Array
from fer_core.config import CHANGES, FITTED, ClipConfig, GeometryConfig, Stream, StreamConfig
from fer_core.faces import views_stage
from fer_core.faces.point_encodings import Procrustes
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces, Track
from fer_core.features import extraction, pretraining
from fer_core.features import reduction as reduction_
from fer_core.features.activations import Activations
from fer_core.features.augment import augmented
from fer_core.features.context import TrialContext
from fer_core.features.encoders import Encoder, ImageEncoder, PointEncoder, encode
from fer_core.features.reduction import Reduction
from fer_core.models.backbones import Backbone
from fer_core.models.network import StreamInput
from fer_core.storage.memory_cache import memory_key

# Rows (B,) to the tensor that the network reads; augmented where there is a random generator.
Batch = Callable[[Array, np.random.Generator | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class FoldStream:
    """One stream of one fold, with all that was fitted on the training clips."""

    encoder: Encoder  # does the same for clips that are not in the store
    stream_input: StreamInput  # what the network must know to read the batches
    batch: Batch
    stored_blocks: nn.ModuleList  # the frozen blocks that ran before the batches


def open_stream(stream: Stream, context: TrialContext) -> "ImageStream | PointStream":
    """Open a stream of a config: its faces or views are made, and its clips are known.

    Raises: DataError where the view loses too many clips; ConfigError and WeightsError where the
    backbone cannot be built.
    """
    if isinstance(stream, GeometryConfig):
        return PointStream(stream, context)
    return ImageStream(stream, context)


class ImageStream:
    """A view of the face, read by a backbone whose first blocks may be frozen."""

    def __init__(self, stream: StreamConfig, context: TrialContext) -> None:
        self._stream, self._context = stream, context
        study_data, config = context.study_data, context.config
        self._backbone = extraction.open_backbone(stream, study_data.weights, study_data.seed)
        self.weights_source: str | None = self._backbone.source
        self._views = context.views(stream.view)
        entries = self._views.entries
        self.clips = tuple(clip for entry in entries for clip in entry.meta["clips"])
        self.skipped = {k: v for entry in entries for k, v in entry.meta["skipped"].items()}
        # Clips whose whole picture takes the place of a view that they do not have.
        self.fallbacks = frozenset(c for e in entries for c in e.meta.get("fallbacks", ()))
        self._live = config.is_live(stream)
        self._places = np.arange(len(self.clips))
        self._order: tuple[str, ...] = self.clips
        self._activations: Activations | None = None
        self._crops: Array | None = None

    def arrange(self, clips: Sequence[str]) -> None:
        """Use these clips from now on: row i of the trial is `clips[i]`."""
        self._places, self._order = _places(clips, self.clips), tuple(clips)
        self._activations, self._crops = None, None

    def fit(self, train: Array) -> FoldStream:
        """Fit on the rows `train`, and on no others."""
        stream, device = self._stream, self._context.device
        encoder = self._encoder(self._backbone)
        if stream.backbone in FITTED and stream.weights == "fitted":
            encoder = replace(encoder, backbone=self._pretrained(encoder, train))
        depth, maps, unreduced = 0 if self._live else stream.freeze_depth, None, None
        if self._live:
            batch = self._live_batch(encoder)
        elif stream.frozen:
            activations = self._open_activations(encoder)
            reduction, features = activations.reduced(train)
            encoder = replace(encoder, reduction=reduction)
            batch = _rows_of(features)
            maps = None if stream.is_volume else activations.features.shape[2:]
            unreduced = _unreduced(encoder)
        else:
            batch = self._partial_batch(encoder)
        blocks = copy.deepcopy(encoder.backbone.blocks[depth:]).to(device)
        frozen = stream.freeze_depth if self._live else 0
        return FoldStream(
            encoder=encoder,
            stream_input=StreamInput(batch(train[:1], None), blocks, frozen, maps, unreduced),
            batch=batch,
            stored_blocks=encoder.backbone.blocks[:depth],
        )

    def maps(self) -> Callable[[Array], Array]:
        """Give a function that reads what leaves the frozen blocks, (B, T, C, H, W), of rows (B,).

        It reads clip by clip: the maps of all clips may exceed memory.
        """
        return self._open_activations(self._encoder(self._backbone)).reader()

    def _encoder(self, backbone: Backbone) -> ImageEncoder:
        stream = self._stream
        return ImageEncoder(
            stream=stream,
            backbone=backbone,
            live=self._live,
            pooling=self._context.config.stored_pooling(stream),
            reduction=None,
            precision="float32" if self._live else self._context.machine.of(stream),
        )

    def _open_activations(self, encoder: ImageEncoder) -> Activations:
        """Open the activations; folds that have one backbone share them."""
        known = self._activations
        if known is None or known.encoder.backbone is not encoder.backbone:
            known = Activations(encoder, self._context, self._views, self._order, self._places)
            self._activations = known
        return known

    def _partial_batch(self, encoder: ImageEncoder) -> Batch:
        """Read what leaves the frozen blocks, or compute it for each batch, to the same values."""
        device, activations = self._context.device, self._open_activations(encoder)
        if activations.stored:
            read = activations.reader()
            return lambda rows, _: torch.from_numpy(read(rows)).to(device).float()

        def computed(rows: Array, _: np.random.Generator | None) -> Tensor:
            crops = self._sized(encoder)[rows]
            self._context.tally.add(backbone_images=crops.shape[0] * crops.shape[1])
            return encoder(crops, device)

        return computed

    def _live_batch(self, encoder: ImageEncoder) -> Batch:
        """Give images to the network, which runs the whole backbone, frozen blocks included."""
        device, augment = self._context.device, self._context.config.augment

        def batch(rows: Array, generator: np.random.Generator | None) -> Tensor:
            crops: Array | Tensor = self._sized(encoder)[rows]
            if augment is not None and generator is not None:
                shown = torch.from_numpy(np.asarray(crops)).to(device)
                crops = augmented(shown, augment, generator)
            return encoder.preprocessed(crops, device)

        return batch

    def _sized(self, encoder: ImageEncoder) -> Array:
        """Give the crops (N, T, S, S, 3) of all clips, which trials share: do not change them."""
        if self._crops is None:
            pixels = extraction.crop_pixels(self._stream, encoder.backbone)
            key = memory_key("crops", of=self._views.key, pixels=pixels, places=self._places)
            self._crops = self._context.cached(key, lambda: self._resized(encoder))
        return self._crops

    def _resized(self, encoder: ImageEncoder) -> Array:
        crops = (views_stage.crops(entry) for entry in self._views.entries)
        return np.concatenate([encoder.sized(clip) for clip in crops if len(clip)])[self._places]

    def _pretrained(self, encoder: ImageEncoder, train: Array) -> Backbone:
        context, clips = self._context, [self._order[row] for row in train]

        def images(most: int) -> Tensor:
            sized = self._sized(encoder)
            crops = sized[train].reshape(-1, 1, *sized.shape[2:])
            spread = np.linspace(0, len(crops) - 1, min(most, len(crops))).round().astype(np.intp)
            return encoder.preprocessed(crops[spread], context.device).flatten(0, 1)

        return pretraining.fitted(
            encoder.backbone, self._stream, context, self._views, clips, images
        )


class PointStream:
    """The 68 landmarks of each frame, encoded and standardised."""

    def __init__(self, geometry: GeometryConfig, context: TrialContext) -> None:
        self._geometry, self._context = geometry, context
        self._faces = context.faces
        shards = [Faces(entry) for entry in self._faces.entries]
        self.clips = tuple(clip for faces in shards for clip in faces.clips)
        self.skipped = {k: v for faces in shards for k, v in faces.skipped.items()}
        self.fallbacks: frozenset[str] = frozenset()
        self.weights_source: str | None = None
        self._places = np.arange(len(self.clips))

        def read() -> Array:
            tracks = (faces.track(clip) for faces in shards for clip in faces.clips)
            points = [points_read(track, context.window) for track in tracks]
            return np.stack(points) if points else np.zeros((0, 3, 68, 2))

        key = memory_key("points", of=self._faces.key, window=context.window.active())
        self._points = context.cached(key, read)

    def arrange(self, clips: Sequence[str]) -> None:
        """Use these clips from now on: row i of the trial is `clips[i]`."""
        self._places = _places(clips, self.clips)

    def fit(self, train: Array) -> FoldStream:
        """Fit on the rows `train`, and on no others."""
        context, encoding = self._context, self._geometry.encoding

        def fitted() -> tuple[Procrustes | None, Reduction, Tensor]:
            points = self._points[self._places]
            turned = encoding in ("procrustes", *CHANGES)
            shown = np.delete(points[train], 1, axis=1)  # each frame once: without the one before
            mean_shape = Procrustes.fit(shown) if turned else None
            encoded = encode(points, encoding, mean_shape)
            reduction = reduction_.standard(encoded[train].reshape(-1, encoded.shape[-1]))
            return mean_shape, reduction, torch.from_numpy(reduction(encoded)).to(context.device)

        key = memory_key(
            "encoded",
            of=self._faces.key,
            window=context.window.active(),
            encoding=encoding,
            places=self._places,
            train=train,
        )
        mean_shape, reduction, encoded = context.cached(key, fitted)
        encoder = PointEncoder(geometry=self._geometry, mean_shape=mean_shape, reduction=reduction)
        batch = _rows_of(encoded)
        return FoldStream(
            encoder=encoder,
            stream_input=StreamInput(batch(train[:1], None), nn.ModuleList()),
            batch=batch,
            stored_blocks=nn.ModuleList(),
        )


def points_read(track: Track, window: ClipConfig) -> Array:
    """Give the points (2 + T, 68, 2) of the T frames that a window reads of a clip."""
    return points_of(track, pick(track.points, track.usable, window))


def points_of(track: Track, frames: Array, *, step: int = 1) -> Array:
    """Give the points (2 + T, 68, 2) of T frames, after those of two that they are compared with.

    These two are the first usable frame of the clip, and the frame before the first of the T: it is
    as far from that one as the second is, or `step` where T is 1.
    """
    usable = np.flatnonzero(track.usable)
    apart = max(1, int(frames[1] - frames[0])) if len(frames) > 1 else step
    earlier = usable[usable <= frames[0] - apart]
    before = earlier[-1] if len(earlier) else usable[0]
    return track.points[[usable[0], before, *frames]]


def _places(clips: Sequence[str], known: Sequence[str]) -> Array:
    """Find the places of some clips among the known ones."""
    place_of = {clip: place for place, clip in enumerate(known)}
    return np.array([place_of[clip] for clip in clips], np.intp)


def _rows_of(features: Tensor) -> Batch:
    return lambda rows, _: features[torch.from_numpy(rows).to(features.device)]


def _unreduced(encoder: ImageEncoder) -> int | None:
    """Count the features before a lossless reduction; None where the reduction is not one."""
    reduction = encoder.reduction
    if reduction is None or reduction.basis is None or encoder.stream.pca_dim is not None:
        return None
    return int(reduction.basis.shape[1])
