"""Step 4 of the way from a config to its first batch: the stage `features`.

It runs the frozen blocks of a stream's backbone on views of faces and stores what leaves the last
frozen block, so that no trial has to run them again. `activations` asks for the stage; an
`ImageEncoder` runs the same code on frames that no store knows. One pass through a backbone can
store what leaves several of its blocks.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import FITTED, StreamConfig
from fer_core.faces.views import resized
from fer_core.faces.views_stage import crops
from fer_core.features.speed import computing
from fer_core.models import backbones
from fer_core.models.backbones import Backbone
from fer_core.models.pooling import pool
from fer_core.storage import memory_cache
from fer_core.storage.memory_cache import memory_key
from fer_core.storage.stages import Made, Shard, SharedWork, Tally
from fer_core.storage.store import Entry, key_of

BATCH_IMAGES = {"cpu": 32, "cuda": 256}  # images that pass through the blocks at once
_CODE = 2  # raise it when the same input gives another result
_STAGE = "features"
_FP16_LIMIT = 6e4  # half precision overflows above it, and such a clip is stored in single


def open_backbone(stream: StreamConfig, weights: Mapping[str, str], seed: int) -> Backbone:
    """Build a stream's backbone, or give the one in memory, which nobody may change.

    Raises: ConfigError and WeightsError as `backbones.build` does.
    """
    file = weights_file(stream, weights)
    stat = file.stat() if file is not None and file.is_file() else None
    key = memory_key(
        "backbone",
        stream=replace(stream, freeze_depth=0, pooling="none", pca_dim=None, view="aligned"),
        file=file,
        version=stat and (stat.st_mtime_ns, stat.st_size),
        seed=seed,
    )
    found = memory_cache.process().get(key)
    if not isinstance(found, Backbone):
        found = laid_out(backbones.build(stream, weights_file=file, seed=seed), stream)
        memory_cache.process().put(key, found)
    return found


def laid_out(backbone: Backbone, stream: StreamConfig) -> Backbone:
    """Store the weights of backbones that read images channels-last, which is faster."""
    if not stream.is_volume and stream.backbone not in FITTED:
        backbone.blocks.to(memory_format=torch.channels_last)
    return backbone


def weights_file(stream: StreamConfig, weights: Mapping[str, str]) -> Path | None:
    """Look up the weights file that the user named for a backbone; None where there is none."""
    name = weights.get(stream.backbone)
    return Path(name) if name else None


def shards(
    views: Sequence[tuple[Shard, Entry]],
    stream: StreamConfig,
    backbone: Backbone,
    *,
    device: torch.device,
    precision: str,
    tally: Tally,
    depths: Collection[int] = (),
) -> list[Shard]:
    """Name the shards of the stage `features`: activations (clips, T, C, H, W) in fp16.

    They leave block `stream.freeze_depth` and are not pooled. The pass that makes a shard also
    stores what leaves the blocks `depths`, where the store lacks it; the backbone must have at
    least so many blocks.
    """
    parts = _parts(stream, backbone, device, precision)

    def shard(source: Shard, entry: Entry) -> Shard:
        own = parts | {"views": source.key}
        keys = {key_of({"stage": _STAGE, **own, "depth": d}): d for d in {*depths, depth}}

        def make(wanted: Collection[str]) -> Mapping[str, Made]:
            images = crops(entry)
            tally.add(backbone_images=images.shape[0] * images.shape[1])
            key_at = {keys[key]: key for key in wanted}
            found = tapped(
                images, stream, backbone, sorted(key_at), device=device, precision=precision
            )
            return {key_at[d]: (maps, {"seconds": took}) for d, (maps, took) in found.items()}

        work = SharedWork(key_of({"stage": _STAGE, **own}), tuple(keys), make)
        return Shard(_STAGE, own | {"depth": depth}, work)

    depth = stream.freeze_depth
    return [shard(source, entry) for source, entry in views]


def stage_key(
    views_key: str,
    stream: StreamConfig,
    backbone: Backbone,
    *,
    device: torch.device,
    precision: str,
) -> str:
    """Give the key of the whole stage, made from views whose stage has the key `views_key`.

    It hashes what the keys of the shards hash, and takes no time for each shard: a trial whose
    features are in memory never names their shards.
    """
    parts = _parts(stream, backbone, device, precision)
    return key_of({"stage": _STAGE, **parts, "views": views_key, "depth": stream.freeze_depth})


def crop_pixels(stream: StreamConfig, backbone: Backbone) -> int:
    """Give the side, in pixels, of the square that the backbone reads."""
    return stream.crop_pixels or backbone.crop_pixels


def activations(
    crops: Array,
    stream: StreamConfig,
    backbone: Backbone,
    *,
    device: torch.device,
    precision: str,
) -> Array:
    """Run clips' crops (N, T, S, S, 3) uint8 through the frozen blocks.

    Gives (N, T, C, H, W), or (N, C, T', H, W) of volumes, as the store has them: in half
    precision, or in single where a value overflows.
    """
    depth = stream.freeze_depth
    found = tapped(crops, stream, backbone, [depth], device=device, precision=precision)
    return found[depth][0]


def tapped(
    crops: Array,
    stream: StreamConfig,
    backbone: Backbone,
    depths: Sequence[int],
    *,
    device: torch.device,
    precision: str,
) -> dict[int, tuple[Array, float]]:
    """Run crops once, as `activations` does, and keep what leaves several blocks.

    Gives for each of `depths` the activations, and the seconds that they alone would have taken.
    """
    units = _units(crops, stream, backbone)
    prefix = backbone.blocks[: max(depths)].to(device).eval()
    outputs: dict[int, list[Array]] = {depth: [] for depth in depths}
    seconds = dict.fromkeys(depths, 0.0)
    at_once = max(1, BATCH_IMAGES[device.type] // units.shape[1])
    with torch.inference_mode(), computing(precision, device):
        for start in range(0, len(units), at_once):
            began = time.perf_counter()
            x = preprocessed(units[start : start + at_once], stream, backbone, device)
            if not stream.is_volume:
                x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            for depth, block in enumerate(prefix, start=1):
                x = block(x)
                if depth in outputs:
                    outputs[depth].append(_copied(x))
                    seconds[depth] += time.perf_counter() - began
    clips, frames = crops.shape[:2]
    shape = (clips,) if stream.is_volume else (clips, frames)
    empty = np.zeros((0, frames), np.float16)
    return {
        depth: (_rounded(np.concatenate(maps), shape) if maps else empty, seconds[depth])
        for depth, maps in outputs.items()
    }


def preprocessed(
    crops: Array | Tensor, stream: StreamConfig, backbone: Backbone, device: torch.device
) -> Tensor:
    """Turn crops (B, T, S, S, 3) of 0..255 into what the first block reads.

    Gives (B, T, 3, S, S), or (B, 3, T, S, S) for volumes.
    """
    images = torch.as_tensor(crops).to(device).float().permute(0, 1, 4, 2, 3)
    preprocess = backbone.preprocess.to(device)
    if stream.is_volume:
        volume: Tensor = preprocess(images.transpose(1, 2))
        return volume
    frames: Tensor = preprocess(images.flatten(0, 1))
    return frames.view(*images.shape[:2], *frames.shape[1:])


def pooled(maps: Array, stream: StreamConfig, pooling: str) -> Array:
    """Pool activations to features (N, T, D), or (N, D) of volumes, in single precision."""
    axes = 1 if stream.is_volume else 2
    flat = torch.from_numpy(maps.reshape(-1, *maps.shape[axes:]).astype(np.float32))
    result: Array = pool(flat, pooling).numpy().reshape(*maps.shape[:axes], -1)
    return result


def _parts(
    stream: StreamConfig, backbone: Backbone, device: torch.device, precision: str
) -> dict[str, object]:
    """Collect what a pass depends on beside the views, whatever its depth: parts of the keys."""
    return {
        "code": _CODE,
        "backbone": stream.backbone,
        "width": stream.width,
        "weights": backbone.weights_sha256,
        "pixels": crop_pixels(stream, backbone),
        "precision": precision,
        "torch": ".".join(torch.__version__.split(".")[:2]),
        # See `machine.make_deterministic`; on a CPU all is in single precision.
        "device": "cuda, tf32" if device.type == "cuda" else device.type,
    }


def _units(crops: Array, stream: StreamConfig, backbone: Backbone) -> Array:
    """Resize crops, and shape them to the units of a pass.

    A unit is a volume (N, T, S, S, 3), or a single frame (N T, 1, S, S, 3).
    """
    flat = resized(np.reshape(crops, (-1, *crops.shape[2:])), crop_pixels(stream, backbone))
    units = flat.reshape(*crops.shape[:2], *flat.shape[1:])
    return units if stream.is_volume else units.reshape(-1, 1, *flat.shape[1:])


def _copied(maps: Tensor) -> Array:
    """Copy maps off the device, because the next block may change them in place."""
    single = maps.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    result: Array = single.numpy(force=True)
    return result


def _rounded(maps: Array, shape: tuple[int, ...]) -> Array:
    """Round maps to half precision, except those of clips that would overflow.

    If there is such a clip, the array of all clips is single, with the other clips rounded.
    """
    maps = maps.reshape(*shape, *maps.shape[1:])
    large = np.abs(maps).reshape(shape[0], -1).max(axis=1) >= _FP16_LIMIT
    with np.errstate(over="ignore"):
        half = maps.astype(np.float16)
    if not large.any():
        return half
    single = half.astype(np.float32)
    single[large] = maps[large]
    return single
