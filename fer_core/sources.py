"""Where a trial's streams come from: the usable clips, and what each fold is given of them.

A source lays out what is stored of its stream, in the order of the clips that all streams can
show. `fit` fits on the training clips whatever is fitted, and says how batches are made.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fer_core import features, pretrain, reduce
from fer_core.choices import CHANGES, FITTED, ClipConfig, GeometryConfig, StreamConfig
from fer_core.encoders import ImageEncoder, PointEncoder, encode
from fer_core.faces import present
from fer_core.faces.geometry import Procrustes
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces, Track
from fer_core.models import backbones
from fer_core.models.backbones import Backbone
from fer_core.models.network import Given
from fer_core.setting import Setting
from fer_core.stages import gather
from fer_core.store import Array
from fer_core.training.augment import augmented

Batch = Callable[[Array, np.random.Generator | None], Tensor]
Encoder = ImageEncoder | PointEncoder


@dataclass(frozen=True, kw_only=True)
class FoldStream:
    """What a fold is given of one stream."""

    encoder: Encoder  # fitted on the training clips
    given: Given
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


def source(stream: object, setting: Setting) -> "ImageSource | PointSource":
    """Open the source of a stream."""
    if isinstance(stream, GeometryConfig):
        return PointSource(stream, setting)
    assert isinstance(stream, StreamConfig)
    return ImageSource(stream, setting)


class ImageSource:
    """A stream of views through a backbone."""

    def __init__(self, stream: StreamConfig, setting: Setting) -> None:
        self._stream, self._setting = stream, setting
        experiment, config = setting.experiment, setting.config
        file = features.weights_file(stream, experiment.weights)
        self._backbone = backbones.build(stream, weights_file=file, seed=experiment.seed)
        self.weights_source: str | None = self._backbone.source
        self._views = setting.views(stream.view)
        entries = [entry for _, entry in self._views]
        self.clips = tuple(clip for entry in entries for clip in entry.meta["clips"])
        self.skipped = {k: v for entry in entries for k, v in entry.meta["skipped"].items()}
        self._live = config.is_live(stream)
        self._fitted = stream.backbone in FITTED and stream.weights == "fitted"
        self._pooling = config.stored_pooling(stream)
        self._rows = np.arange(len(self.clips))
        self._order: tuple[str, ...] = self.clips
        self._crops: Array | None = None
        self._stored: tuple[list[str], Array] | None = None

    def arrange(self, clips: Sequence[str]) -> None:
        place = {clip: row for row, clip in enumerate(self.clips)}
        self._rows = np.array([place[clip] for clip in clips], np.intp)
        self._order = tuple(clips)

    def fit(self, train: Array) -> FoldStream:
        backbone = self._pretrained(train) if self._fitted else self._backbone
        depth = 0 if self._live else self._stream.freeze_depth
        blocks = copy.deepcopy(backbone.blocks[depth:]).to(self._setting.device)
        encoder = ImageEncoder(
            stream=self._stream,
            backbone=backbone,
            live=self._live,
            pooling=self._pooling,
            reduction=None,
        )
        batch, maps = self._live_batch(encoder), None
        if not self._live:
            lineage, stored = self._activations(backbone)
            batch = self._stored_batch(stored)
            if self._stream.frozen:
                encoder, batch = self._reduced(encoder, stored, lineage, train)
                maps = None if self._stream.is_volume else stored.shape[2:]
        frozen = self._stream.freeze_depth if self._live else 0
        sample = batch(train[:1], None)
        return FoldStream(
            encoder=encoder,
            given=Given(sample, blocks, frozen, maps),
            batch=batch,
            stored_blocks=backbone.blocks[:depth],
        )

    def _activations(self, backbone: Backbone) -> tuple[list[str], Array]:
        """Give the keys and the activations of all clips; those of one backbone are kept."""
        if self._stored is not None and not self._fitted:
            return self._stored
        setting = self._setting
        shards = features.shards(self._views, self._stream, backbone, setting.device, setting.tally)
        entries = gather(setting.store, shards, setting.tally)
        arrays = (entry.array for entry in entries)  # one is mapped at a time
        filled = [self._kept(array) for array in arrays if len(array)]
        self._stored = [shard.key for shard in shards], np.concatenate(filled)[self._rows]
        return self._stored

    def _kept(self, maps: Array) -> Array:
        """Pool what need not be kept whole."""
        if not self._stream.frozen or self._pooling == "none":
            return np.array(maps)
        return features.pooled(maps, self._stream, self._pooling)

    def _reduced(
        self, encoder: ImageEncoder, stored: Array, lineage: list[str], train: Array
    ) -> tuple[ImageEncoder, Batch]:
        """Standardise and reduce whole frozen features, as the training clips have it."""
        whole = self._pooling == "none"
        flat = features.pooled(stored, self._stream, "none") if whole else stored
        setting = self._setting
        named = {
            "features": lineage,
            "pooling": self._pooling,
            "clips": [self._order[row] for row in train],
        }
        reduction = reduce.fit(
            flat[train].reshape(-1, flat.shape[-1]),
            self._stream.pca_dim,
            store=setting.store,
            lineage=named,
            tally=setting.tally,
        )
        reduced = torch.from_numpy(reduction(flat)).to(setting.device)
        return replace(encoder, reduction=reduction), _rows_of(reduced)

    def _stored_batch(self, stored: Array) -> Batch:
        device = self._setting.device
        return lambda rows, _: torch.from_numpy(stored[rows]).to(device).float()

    def _live_batch(self, encoder: ImageEncoder) -> Batch:
        device, augment = self._setting.device, self._setting.config.augment

        def batch(rows: Array, generator: np.random.Generator | None) -> Tensor:
            crops: Array | Tensor = self._sized(encoder)[rows]
            if augment is not None and generator is not None:
                crops = augmented(torch.from_numpy(np.asarray(crops)), augment, generator)
            return encoder.preprocessed(crops, device)

        return batch

    def _sized(self, encoder: ImageEncoder) -> Array:
        if self._crops is None:
            crops = [present.crops(entry) for _, entry in self._views]
            sized = [encoder.sized(clip) for clip in crops if len(clip)]
            self._crops = np.concatenate(sized)[self._rows]
        return self._crops

    def _pretrained(self, train: Array) -> Backbone:
        setting, encoder = self._setting, self._plain()
        lineage = {
            "stream": asdict(replace(self._stream, freeze_depth=0, pooling="none", pca_dim=None)),
            "views": [shard.key for shard, _ in self._views],
            "clips": [self._order[row] for row in train],
            "seed": setting.experiment.seed,
        }

        def images(most: int) -> Tensor:
            crops = self._sized(encoder)[train].reshape(-1, 1, *self._sized(encoder).shape[2:])
            spread = np.linspace(0, len(crops) - 1, min(most, len(crops))).round().astype(np.intp)
            return encoder.preprocessed(crops[spread], setting.device).flatten(0, 1)

        return pretrain.fitted(self._backbone, self._stream, images, lineage, setting)

    def _plain(self) -> ImageEncoder:
        return ImageEncoder(
            stream=self._stream,
            backbone=self._backbone,
            live=True,
            pooling=self._pooling,
            reduction=None,
        )


class PointSource:
    """A stream of the 68 points."""

    def __init__(self, geometry: GeometryConfig, setting: Setting) -> None:
        self._geometry, self._setting = geometry, setting
        shards = [Faces(entry) for _, entry in setting.faces]
        self.clips = tuple(clip for faces in shards for clip in faces.clips)
        self.skipped = {k: v for faces in shards for k, v in faces.skipped.items()}
        self.weights_source: str | None = None
        tracks = (faces.track(clip) for faces in shards for clip in faces.clips)
        read = [points_read(track, setting.window) for track in tracks]
        self._points = np.stack(read) if read else np.zeros((0, 2, 68, 2))

    def arrange(self, clips: Sequence[str]) -> None:
        place = {clip: row for row, clip in enumerate(self.clips)}
        self._points = self._points[[place[clip] for clip in clips]]

    def fit(self, train: Array) -> FoldStream:
        encoding, setting = self._geometry.encoding, self._setting
        turned = encoding in ("procrustes", *CHANGES)
        mean_shape = Procrustes.fit(self._points[train]) if turned else None
        encoded = encode(self._points, encoding, mean_shape)
        rows = encoded[train].reshape(-1, encoded.shape[-1])
        reduction = reduce.fit(rows, None, store=setting.store, lineage={}, tally=setting.tally)
        encoder = PointEncoder(geometry=self._geometry, mean_shape=mean_shape, reduction=reduction)
        batch = _rows_of(torch.from_numpy(reduction(encoded)).to(setting.device))
        given = Given(batch(train[:1], None), nn.ModuleList())
        return FoldStream(encoder=encoder, given=given, batch=batch, stored_blocks=nn.ModuleList())


def points_read(track: Track, window: ClipConfig) -> Array:
    """Give the points (1 + T, 68, 2) of a clip's first usable frame, and of those that are read."""
    indices = pick(track.points, track.usable, window)
    return track.points[[int(np.flatnonzero(track.usable)[0]), *indices]]


def _rows_of(given: Tensor) -> Batch:
    return lambda rows, _: given[torch.from_numpy(rows).to(given.device)]
