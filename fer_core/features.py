"""The stored stage right of the views: a backbone's activations where its frozen part ends."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_core.config import StreamConfig
from fer_core.faces.present import crops
from fer_core.faces.views import resized
from fer_core.models.backbones import Backbone
from fer_core.models.pooling import pool
from fer_core.stages import Shard, Tally
from fer_core.store import Array, Entry

BATCH_IMAGES = 32
_CODE = 1  # raise it when the same input gives another result
_FP16_LIMIT = 6e4  # above it half precision overflows, and the array is stored in single


def shards(
    views: list[tuple[Shard, Entry]],
    stream: StreamConfig,
    backbone: Backbone,
    device: torch.device,
    tally: Tally,
) -> list[Shard]:
    """Name the shards of the stage `features`: (clips, T, C, H, W) activations, fp16.

    They are those after block `stream.freeze_depth`, computed in fp32 and not pooled.
    """
    parts = {
        "code": _CODE,
        "backbone": stream.backbone,
        "depth": stream.freeze_depth,
        "width": stream.width,
        "weights": backbone.weights_sha256,
        "pixels": crop_pixels(stream, backbone),
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "device": device.type,
    }

    def shard(source: Shard, entry: Entry) -> Shard:
        return Shard(
            "features",
            parts | {"views": source.key},
            lambda: (_extract(entry, stream, backbone, device, tally), {}),
        )

    return [shard(source, entry) for source, entry in views]


def crop_pixels(stream: StreamConfig, backbone: Backbone) -> int:
    """Give the side of the square that the backbone reads."""
    return stream.crop_pixels or backbone.crop_pixels


def activations(
    crops: Array, stream: StreamConfig, backbone: Backbone, device: torch.device
) -> Array:
    """Run clips' crops (N, T, S, S, 3) uint8 through the blocks that are frozen.

    Gives (N, T, C, H, W), or (N, C, T', H, W) of volumes, as they are stored: in half precision
    unless they overflow.
    """
    clips, frames = crops.shape[:2]
    flat = resized(np.reshape(crops, (-1, *crops.shape[2:])), crop_pixels(stream, backbone))
    units = flat.reshape(clips, frames, *flat.shape[1:])
    if not stream.is_volume:
        units = units.reshape(-1, 1, *flat.shape[1:])  # frames pass one by one
    prefix = backbone.blocks[: stream.freeze_depth].to(device).eval()
    at_once = max(1, BATCH_IMAGES // units.shape[1])
    outputs: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(units), at_once):
            x = preprocessed(units[start : start + at_once], stream, backbone, device)
            x = x if stream.is_volume else x.flatten(0, 1)
            for block in prefix:
                x = block(x)
            outputs.append(x.cpu().numpy())
    if not outputs:
        return np.zeros((0, frames), np.float16)
    maps = np.concatenate(outputs)
    fits = float(np.abs(maps).max()) < _FP16_LIMIT
    shape = maps.shape if stream.is_volume else (clips, frames, *maps.shape[1:])
    return maps.reshape(shape).astype(np.float16 if fits else np.float32)


def preprocessed(
    crops: Array | Tensor, stream: StreamConfig, backbone: Backbone, device: torch.device
) -> Tensor:
    """Bring crops (B, T, S, S, 3) of 0..255 to what block 0 reads.

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
    """Pool stored activations to features (N, T, D), or (N, D) of volumes, in single precision."""
    axes = 1 if stream.is_volume else 2
    flat = torch.from_numpy(maps.reshape(-1, *maps.shape[axes:]).astype(np.float32))
    result: Array = pool(flat, pooling).numpy().reshape(*maps.shape[:axes], -1)
    return result


def _extract(
    entry: Entry, stream: StreamConfig, backbone: Backbone, device: torch.device, tally: Tally
) -> Array:
    images = crops(entry)
    tally.add(backbone_images=images.shape[0] * images.shape[1])
    return activations(images, stream, backbone, device)


def weights_file(stream: StreamConfig, weights: Mapping[str, str]) -> Path | None:
    """Look up the file that the user named for a backbone."""
    name = weights.get(stream.backbone)
    return Path(name) if name else None
