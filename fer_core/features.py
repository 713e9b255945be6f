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
            lambda: (_extract(crops(entry), stream, backbone, device, tally), {}),
        )

    return [shard(source, entry) for source, entry in views]


def crop_pixels(stream: StreamConfig, backbone: Backbone) -> int:
    """Give the side of the square that the backbone reads."""
    return stream.crop_pixels or backbone.crop_pixels


def images_to_tensor(images: Array, device: torch.device) -> Tensor:
    """Turn images (B, H, W, 3) uint8 into (B, 3, H, W) float32, RGB 0..255."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return tensor.permute(0, 3, 1, 2).float()


def _extract(
    images: Array, stream: StreamConfig, backbone: Backbone, device: torch.device, tally: Tally
) -> Array:
    clips, frames = images.shape[:2]
    flat = resized(np.reshape(images, (-1, *images.shape[2:])), crop_pixels(stream, backbone))
    prefix = backbone.blocks[: stream.freeze_depth].to(device).eval()
    preprocess = backbone.preprocess.to(device)
    outputs: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(flat), BATCH_IMAGES):
            x = preprocess(images_to_tensor(flat[start : start + BATCH_IMAGES], device))
            for block in prefix:
                x = block(x)
            outputs.append(x.cpu().numpy())
    tally.add(backbone_images=len(flat))
    if not outputs:
        return np.zeros((0, frames), np.float16)
    maps = np.concatenate(outputs)
    fits = float(np.abs(maps).max()) < _FP16_LIMIT
    return maps.reshape(clips, frames, *maps.shape[1:]).astype(np.float16 if fits else np.float32)


def weights_file(stream: StreamConfig, weights: Mapping[str, str]) -> Path | None:
    """Look up the file that the user named for a backbone."""
    name = weights.get(stream.backbone)
    return Path(name) if name else None
