"""What the frozen blocks of a stream give of all clips: as the store has it, or computed again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_core.arrays import Array
from fer_core.config import FITTED, StreamConfig
from fer_core.faces import views_stage
from fer_core.features import extraction, storing_rule
from fer_core.features.context import Stage, TrialContext
from fer_core.features.encoders import ImageEncoder
from fer_core.models.backbones import Backbone
from fer_core.storage.shared_store import free_bytes
from fer_core.storage.stages import Shard, read_or_make

_MAPPED = 256  # shards whose files stay open; others are opened for each clip


@dataclass(frozen=True)
class Activations:
    """A stream's activations on the views that a trial reads."""

    encoder: ImageEncoder
    context: TrialContext
    views: Stage
    shards: tuple[Shard, ...]
    stored: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """Name what they depend on."""
        return tuple(shard.key for shard in self.shards)

    def maps(self, pooling: str, rows: Array) -> Array:
        """Give those of the clips `rows`: pooled (N, T, D), or with "none" as they are stored.

        They are held, and must not be changed.
        """
        context = self.context
        key = ("maps", context.study_data.store, self.keys, pooling, rows.tobytes(), self.stored)
        return context.cached(key, lambda: _ordered(self._read(pooling), rows))

    def gatherer(self, rows: Array) -> Callable[[Array], Array]:
        """Give what reads places among the clips `rows`, from the files: they may exceed memory."""
        context = self.context
        key = ("gatherer", context.study_data.store, self.keys)
        entries = context.cached(
            key, lambda: read_or_make(context.store, self.shards, context.tally)
        )
        arrays = [entry.array for entry in entries[:_MAPPED]]
        lengths = [len(entry.array) for entry in entries]
        shard_of = np.repeat(np.arange(len(lengths)), lengths)[rows]
        place_of = np.concatenate([np.arange(length) for length in lengths])[rows]

        def gathered(at: Array) -> Array:
            found: list[Array] = []
            for shard, place in zip(shard_of[at], place_of[at], strict=True):
                mapped = arrays[shard] if shard < len(arrays) else entries[shard].array
                found.append(mapped[place])
            return np.stack(found)

        return gathered

    def _read(self, pooling: str) -> Array:
        stream = self.encoder.stream
        read = self._stored() if self.stored else self._computed()
        filled = (maps for maps in read if len(maps))
        if pooling == "none":
            return np.concatenate([np.array(maps) for maps in filled])
        return np.concatenate([extraction.pooled(maps, stream, pooling) for maps in filled])

    def _stored(self) -> Iterator[Array]:
        entries = read_or_make(self.context.store, self.shards, self.context.tally)
        return (entry.array for entry in entries)  # one is mapped at a time

    def _computed(self) -> Iterator[Array]:
        for _, entry in self.views:
            images = views_stage.crops(entry)
            self.context.tally.add(backbone_images=images.shape[0] * images.shape[1])
            yield self.encoder.activations(images, self.context.device)


def _ordered(maps: Array, rows: Array) -> Array:
    """Put clips in the order of a trial's rows, and copy nothing where they are."""
    return maps if np.array_equal(rows, np.arange(len(maps))) else maps[rows]


def open_activations(encoder: ImageEncoder, context: TrialContext, views: Stage) -> Activations:
    """Say where a stream's activations come from, and compute nothing."""
    stream, taps = encoder.stream, _taps(encoder.stream, context)
    backbone = _reaching(taps, encoder, context)
    shards = extraction.shards(
        views,
        stream,
        backbone,
        device=context.device,
        precision=encoder.precision,
        tally=context.tally,
        depths=[each.freeze_depth for each in taps],
    )
    stored = _stores(stream, context, shards)
    return Activations(encoder, context, views, tuple(shards), stored)


def _stores(stream: StreamConfig, context: TrialContext, shards: Sequence[Shard]) -> bool:
    """Decide as the rule has it; what is in the store already is read."""
    keep, store = context.study_data.keep, context.store
    if keep != "rule":
        return keep == "always"
    there = (store.has(shard.stage, shard.key) for shard in shards)
    return _pays(stream, context) or all(there)


def _pays(stream: StreamConfig, context: TrialContext) -> bool:
    if stream.frozen:
        return True
    study_data = context.study_data
    sharing = [each for each in _alike(stream, context) if each.freeze_depth == stream.freeze_depth]
    demand = storing_rule.Reads(
        clips=len(study_data.manifest.clips),
        frames=context.window.frames,
        epochs=context.config.optimizer.epochs,
        folds=1 if stream.backbone in FITTED else len(study_data.protocol.folds),
        trials=max(1, len(sharing)),
    )
    room = free_bytes(study_data.store)
    return storing_rule.whether_to_store(stream, demand, context.machine, free_bytes=room).store


def _alike(stream: StreamConfig, context: TrialContext) -> list[StreamConfig]:
    """Give the streams of the study that one pass could make together with this one."""
    if stream.backbone in FITTED:
        return []
    known = context.study_data.streams
    return [each for each in known if each.freeze_depth and _pass(each) == _pass(stream)]


def _pass(stream: StreamConfig) -> StreamConfig:
    return replace(stream, blocks=0, freeze_depth=0, pooling="none", pca_dim=None)


def _taps(stream: StreamConfig, context: TrialContext) -> list[StreamConfig]:
    """Give the streams whose activations a pass for this one stores on its way."""
    alike = _alike(stream, context)
    if context.study_data.keep == "always":
        return alike
    return [each for each in alike if _pays(each, context)]


def _reaching(
    taps: Sequence[StreamConfig], encoder: ImageEncoder, context: TrialContext
) -> Backbone:
    """Give the backbone with as many blocks as the deepest tap needs."""
    study_data = context.study_data
    most = max(taps, key=lambda each: each.blocks, default=encoder.stream)
    if most.blocks <= encoder.stream.blocks:
        return encoder.backbone
    return extraction.open_backbone(most, study_data.weights, study_data.seed)
