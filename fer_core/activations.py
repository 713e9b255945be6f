"""What the frozen blocks of a stream give of all clips: as the store has it, or computed again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_core import features, storing
from fer_core.choices import FITTED, StreamConfig
from fer_core.encoders import ImageEncoder
from fer_core.faces import present
from fer_core.models.backbones import Backbone
from fer_core.setting import Setting, Stage
from fer_core.stages import Shard, gather
from fer_core.store import Array
from fer_core.tiers import free_bytes

_MAPPED = 256  # shards whose files stay open; others are opened for each clip


@dataclass(frozen=True)
class Activations:
    """A stream's activations on the views that a trial reads."""

    encoder: ImageEncoder
    setting: Setting
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
        setting = self.setting
        key = ("maps", setting.experiment.store, self.keys, pooling, rows.tobytes(), self.stored)
        return setting.held(key, lambda: _ordered(self._read(pooling), rows))

    def gatherer(self, rows: Array) -> Callable[[Array], Array]:
        """Give what reads places among the clips `rows`, from the files: they may exceed memory."""
        setting = self.setting
        key = ("gatherer", setting.experiment.store, self.keys)
        entries = setting.held(key, lambda: gather(setting.store, self.shards, setting.tally))
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
        return np.concatenate([features.pooled(maps, stream, pooling) for maps in filled])

    def _stored(self) -> Iterator[Array]:
        entries = gather(self.setting.store, self.shards, self.setting.tally)
        return (entry.array for entry in entries)  # one is mapped at a time

    def _computed(self) -> Iterator[Array]:
        for _, entry in self.views:
            images = present.crops(entry)
            self.setting.tally.add(backbone_images=images.shape[0] * images.shape[1])
            yield self.encoder.activations(images, self.setting.device)


def _ordered(maps: Array, rows: Array) -> Array:
    """Put clips in the order of a trial's rows, and copy nothing where they are."""
    return maps if np.array_equal(rows, np.arange(len(maps))) else maps[rows]


def opened(encoder: ImageEncoder, setting: Setting, views: Stage) -> Activations:
    """Say where a stream's activations come from, and compute nothing."""
    stream, taps = encoder.stream, _taps(encoder.stream, setting)
    backbone = _reaching(taps, encoder, setting)
    shards = features.shards(
        views,
        stream,
        backbone,
        device=setting.device,
        precision=encoder.precision,
        tally=setting.tally,
        depths=[each.freeze_depth for each in taps],
    )
    stored = _stores(stream, setting, shards)
    return Activations(encoder, setting, views, tuple(shards), stored)


def _stores(stream: StreamConfig, setting: Setting, shards: Sequence[Shard]) -> bool:
    """Decide as the rule has it; what is in the store already is read."""
    keep, store = setting.experiment.keep, setting.store
    if keep != "rule":
        return keep == "always"
    there = (store.has(shard.stage, shard.key) for shard in shards)
    return _pays(stream, setting) or all(there)


def _pays(stream: StreamConfig, setting: Setting) -> bool:
    if stream.frozen:
        return True
    experiment = setting.experiment
    sharing = [each for each in _alike(stream, setting) if each.freeze_depth == stream.freeze_depth]
    demand = storing.Demand(
        clips=len(experiment.manifest.clips),
        frames=setting.window.frames,
        epochs=setting.config.optimizer.epochs,
        folds=1 if stream.backbone in FITTED else len(experiment.protocol.folds),
        trials=max(1, len(sharing)),
    )
    room = free_bytes(experiment.store)
    return storing.choose(stream, demand, setting.machine, free_bytes=room).store


def _alike(stream: StreamConfig, setting: Setting) -> list[StreamConfig]:
    """Give the streams of the study that one pass could make together with this one."""
    if stream.backbone in FITTED:
        return []
    known = setting.experiment.streams
    return [each for each in known if each.freeze_depth and _pass(each) == _pass(stream)]


def _pass(stream: StreamConfig) -> StreamConfig:
    return replace(stream, blocks=0, freeze_depth=0, pooling="none", pca_dim=None)


def _taps(stream: StreamConfig, setting: Setting) -> list[StreamConfig]:
    """Give the streams whose activations a pass for this one stores on its way."""
    alike = _alike(stream, setting)
    if setting.experiment.keep == "always":
        return alike
    return [each for each in alike if _pays(each, setting)]


def _reaching(taps: Sequence[StreamConfig], encoder: ImageEncoder, setting: Setting) -> Backbone:
    """Give the backbone with as many blocks as the deepest tap needs."""
    experiment = setting.experiment
    most = max(taps, key=lambda each: each.blocks, default=encoder.stream)
    if most.blocks <= encoder.stream.blocks:
        return encoder.backbone
    return features.opened(most, experiment.weights, experiment.seed)
