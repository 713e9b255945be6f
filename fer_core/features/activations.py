"""Step 3 of the way from a config to its first batch: what the frozen blocks give of each clip.

An `ImageStream` asks here for the activations of its clips, whole or reduced for a fold, or clip by
clip. They come from this process's memory, from the store, or from a pass through the frozen blocks
(`extraction`). Whether a pass is stored is decided here, by `storing_rule`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import FITTED, StreamConfig
from fer_core.faces import views_stage
from fer_core.features import extraction, storing_rule
from fer_core.features import reduction as reduction_
from fer_core.features.context import Stage, TrialContext
from fer_core.features.encoders import ImageEncoder
from fer_core.features.reduction import Reduction
from fer_core.models.backbones import Backbone
from fer_core.storage.memory_cache import memory_key
from fer_core.storage.shared_store import free_bytes
from fer_core.storage.stages import Shard, read_or_make

_OPEN_FILES = 256  # shards whose files stay open; the files of others are opened for each clip


@dataclass(frozen=True)
class Activations:
    """What leaves a stream's last frozen block, of a trial's N clips in the order of its rows.

    The stage has the clips in the order of the views; `places` are the trial's clips there.
    Nothing is read or computed before it is asked for.
    """

    encoder: ImageEncoder
    context: TrialContext
    views: Stage
    clips: tuple[str, ...]  # names of the N clips
    places: Array  # (N,) places of the clips among those of the views

    @cached_property
    def key(self) -> str:
        """The key of the stage `features`; values in memory are kept under it."""
        encoder = self.encoder
        return extraction.stage_key(
            self.views.key,
            encoder.stream,
            encoder.backbone,
            device=self.context.device,
            precision=encoder.precision,
        )

    @cached_property
    def stored(self) -> bool:
        """Whether they are in the store, or are computed again: as the study or the rule says."""
        keep, store = self.context.study_data.keep, self.context.store
        if keep != "rule":
            return keep == "always"
        if _pays(self.encoder.stream, self.context):
            return True
        return all(store.has(shard.stage, shard.key) for shard in self.shards)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of the stage; the pass that makes one stores other depths that pay."""
        encoder = self.encoder
        depths = _depths_to_store(encoder.stream, self.context)
        shards = extraction.shards(
            self.views.pairs,
            encoder.stream,
            _reaching(depths, encoder, self.context),
            device=self.context.device,
            precision=encoder.precision,
            tally=self.context.tally,
            depths=[each.freeze_depth for each in depths],
        )
        return tuple(shards)

    @cached_property
    def features(self) -> Array:
        """Pooled features (N, T, D), or with pooling "none" the maps as they are stored.

        Volumes have no axis T. The array is shared with other trials, and must not be changed.
        """
        key = memory_key(
            "features",
            of=self.key,
            pooling=self.encoder.pooling,
            places=self.places,
            stored=self.stored,
        )
        return self.context.cached(key, lambda: _in_order(self._read(), self.places))

    def reduced(self, train: Array) -> tuple[Reduction, Tensor]:
        """Standardise and reduce the features of all clips, fitted on the rows `train` alone."""
        context, stream, features = self.context, self.encoder.stream, self.features
        axes = 1 if stream.is_volume else 2
        dim, frames = (
            math.prod(features.shape[axes:]),
            len(train) * math.prod(features.shape[1:axes]),
        )
        key = partial(
            memory_key,
            of=self.key,
            pooling=self.encoder.pooling,
            stored=self.stored,
            places=self.places,
            train=train,
        )
        if stream.pca_dim is not None:
            count = reduction_.largest(frames, dim, stream.pca_dim)
            principal = partial(reduction_.principal, count=count)
            full, projected = context.cached(
                key("principal", count=count), lambda: self._fitted(principal, train, dim)
            )
            reduction = reduction_.cut(full, projected[train], stream.pca_dim)
            return reduction, projected[..., : stream.pca_dim] / reduction.spread
        exact = frames < dim and reduction_.is_exact(context.config, stream)
        fit = reduction_.exact if exact else reduction_.standard
        return context.cached(key(fit.__name__), lambda: self._fitted(fit, train, dim))

    def reader(self) -> Callable[[Array], Array]:
        """Give a function that reads rows from the store's files: all rows may exceed memory."""
        context = self.context
        entries = context.cached(
            memory_key("entries", of=self.key),
            lambda: read_or_make(context.store, self.shards, context.tally),
        )
        arrays = [entry.array for entry in entries[:_OPEN_FILES]]
        lengths = [len(entry.array) for entry in entries]
        shard_of = np.repeat(np.arange(len(lengths)), lengths)[self.places]
        index_of = np.concatenate([np.arange(length) for length in lengths])[self.places]

        def read(rows: Array) -> Array:
            found: list[Array] = []
            for shard, index in zip(shard_of[rows], index_of[rows], strict=True):
                array = arrays[shard] if shard < len(arrays) else entries[shard].array
                found.append(array[index])
            return np.stack(found)

        return read

    def _fitted(
        self, fit: Callable[[Array, reduction_.Fold], Reduction], train: Array, dim: int
    ) -> tuple[Reduction, Tensor]:
        """Fit a reduction on the rows `train`, and apply it to all clips."""
        context, pooling, features = self.context, self.encoder.pooling, self.features
        if pooling == "none":
            features = extraction.pooled(features, self.encoder.stream, "none")
        lineage = {
            "features": [shard.key for shard in self.shards],
            "pooling": pooling,
            "clips": [self.clips[row] for row in train],
        }
        fold = reduction_.Fold(context.store, lineage, context.tally)
        reduction = fit(features[train].reshape(-1, dim), fold)
        return reduction, torch.from_numpy(reduction(features)).to(context.device)

    def _read(self) -> Array:
        """Read or compute all clips of the views, pooled as the encoder pools."""
        stream, pooling = self.encoder.stream, self.encoder.pooling
        shards = self._from_store() if self.stored else self._computed()
        filled = (maps for maps in shards if len(maps))
        if pooling == "none":
            return np.concatenate([np.array(maps) for maps in filled])
        return np.concatenate([extraction.pooled(maps, stream, pooling) for maps in filled])

    def _from_store(self) -> Iterator[Array]:
        entries = read_or_make(self.context.store, self.shards, self.context.tally)
        return (entry.array for entry in entries)  # one file is mapped at a time

    def _computed(self) -> Iterator[Array]:
        for entry in self.views.entries:
            images = views_stage.crops(entry)
            self.context.tally.add(backbone_images=images.shape[0] * images.shape[1])
            yield self.encoder.activations(images, self.context.device)


def _in_order(maps: Array, places: Array) -> Array:
    """Put clips in the order of a trial's rows, without a copy where they already are."""
    return maps if np.array_equal(places, np.arange(len(maps))) else maps[places]


def _pays(stream: StreamConfig, context: TrialContext) -> bool:
    """Whether storing a stream's activations pays, by the rule."""
    if stream.frozen:
        return True
    study_data = context.study_data
    sharing = [each for each in _alike(stream, context) if each.freeze_depth == stream.freeze_depth]
    reads = storing_rule.Reads(
        clips=len(study_data.manifest.clips),
        frames=context.window.frames,
        epochs=context.config.optimizer.epochs_for(len(study_data.manifest.clips)),
        folds=1 if stream.backbone in FITTED else len(study_data.protocol.folds),
        trials=max(1, len(sharing)),
    )
    free = free_bytes(study_data.store)
    return storing_rule.whether_to_store(stream, reads, context.machine, free_bytes=free).store


def _alike(stream: StreamConfig, context: TrialContext) -> list[StreamConfig]:
    """Give the study's streams whose activations the same pass as this stream's can make."""
    if stream.backbone in FITTED:
        return []
    known, own = context.study_data.streams, _pass(stream)
    return [each for each in known if each.freeze_depth and _pass(each) == own]


def _pass(stream: StreamConfig) -> StreamConfig:
    """Give a stream without the choices that a pass through its backbone does not depend on."""
    return replace(stream, blocks=0, freeze_depth=0, pooling="none", pca_dim=None)


def _depths_to_store(stream: StreamConfig, context: TrialContext) -> list[StreamConfig]:
    """Give the study's streams whose activations a pass for this stream also stores."""
    alike = list(dict.fromkeys(_alike(stream, context)))  # a stream is listed once a trial
    if context.study_data.keep == "always":
        return alike
    return [each for each in alike if _pays(each, context)]


def _reaching(
    streams: Sequence[StreamConfig], encoder: ImageEncoder, context: TrialContext
) -> Backbone:
    """Give a backbone with as many blocks as the deepest of these streams has."""
    study_data = context.study_data
    deepest = max(streams, key=lambda each: each.blocks, default=encoder.stream)
    if deepest.blocks <= encoder.stream.blocks:
        return encoder.backbone
    return extraction.open_backbone(deepest, study_data.weights, study_data.seed)
