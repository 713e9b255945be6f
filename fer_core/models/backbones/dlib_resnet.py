"""The ResNet-29 of dlib's face recognition, with weights read from dlib's own file without dlib.

King 2017, http://dlib.net/dnn_face_recognition_ex.cpp.html: the ResNet of He et al. 2015,
https://arxiv.org/abs/1512.03385, with fewer layers and half the filters. Its affine layers are
fixed batch normalisations, and are folded into the convolutions before them. The weights are CC0.
"""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones.backbone import Backbone, Normalise, initialise, scaled
from fer_core.storage.files import file_sha256
from fer_core.weight_files import packaged

FILE = "dlib_face_recognition_resnet_model_v1.dat"
CROP_PIXELS = 150  # dlib, input_rgb_image_sized<150>
MEAN = (122.782, 117.001, 104.298)  # RGB; dlib, input_rgb_image_sized
STD = (256.0, 256.0, 256.0)  # ibid.
STEM_CHANNELS = 32
STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # blocks 1 to 5: channels, residuals
MARKS = {"con_4": 29, "affine_": 29, "fc_2": 1}  # how often each mark occurs
HEADERS = {"con_4": 5, "affine_": 5, "fc_2": 7}  # integers before the values; the last four: sizes


class Residual(nn.Module):
    """Add two 3x3 convolutions to their input: maps (B, C, H, W) to (B, C', H', W').

    With `down`, the size is halved: the first convolution has stride 2 and no padding, and the
    input is averaged over 2x2. The two sizes may then differ; as in dlib's add_prev, the smaller
    map is extended by zeros at its end.
    """

    def __init__(self, channels: int, size: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        stride, padding = (2, 0) if down else (1, 1)
        self.first = nn.Conv2d(channels, size, 3, stride, padding)
        self.second = nn.Conv2d(size, size, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        changed = self.second(functional.relu(self.first(maps)))
        if not self.down:
            return functional.relu(changed + maps)
        skip = functional.avg_pool2d(maps, 2)
        shape = [max(a, b) for a, b in zip(changed.shape[1:], skip.shape[1:], strict=True)]
        return functional.relu(_extend(changed, shape) + _extend(skip, shape))


def build(stream: StreamConfig, _file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks, with random weights or those of the package that ships dlib's file.

    Raises: ConfigError where the crop is too small; WeightsError where the package is missing.
    """
    crop_pixels = stream.crop_pixels or CROP_PIXELS
    _check_crop(crop_pixels, stream.blocks)
    blocks = _blocks(stream)
    if stream.weights == "package":
        path = packaged(FILE)
        _load(blocks, read_tensors(path))
        weights_sha256 = file_sha256(path)
    else:
        _initialise(blocks, generator)
        weights_sha256 = f"random:dlib_resnet:{generator.initial_seed()}:{stream.width!r}"
    return Backbone(
        blocks=blocks,
        crop_pixels=crop_pixels,
        preprocess=Normalise(MEAN, STD),
        weights_sha256=weights_sha256,
        source=stream.weights,
    )


def read_tensors(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    """Read the tensors of a dlib network, flattened: by their mark, in the order of the layers.

    In the file, a tensor follows each of the marks `con_4`, `affine_` and `fc_2`. It is five
    integers (version 2, samples, channels, rows, columns) and float32 values. An integer is one
    byte, whose low four bits count the little-endian bytes that follow it. The tensor of `fc_2`
    has two more integers before it, its outputs and inputs.

    Raises: WeightsError where the file is not that of this network.
    """
    data = path.read_bytes()
    ends = {mark: [m.end() for m in re.finditer(mark.encode(), data)] for mark in MARKS}
    counts = {mark: len(found) for mark, found in ends.items()}
    if counts != MARKS:
        raise WeightsError(
            f"weights file {path} is not dlib's ResNet-29: its numbers of layers are {counts}, "
            f"but they must be {MARKS}."
        )
    return {mark: [_tensor(data, end, HEADERS[mark]) for end in ends[mark]] for mark in MARKS}


def _tensor(data: bytes, position: int, header: int) -> NDArray[np.float32]:
    integers = []
    for _ in range(header):
        count = data[position] & 0x0F
        integers.append(int.from_bytes(data[position + 1 : position + 1 + count], "little"))
        position += 1 + count
    return np.frombuffer(data, "<f4", math.prod(integers[-4:]), position).astype(np.float32)


def _blocks(stream: StreamConfig) -> nn.ModuleList:
    channels = scaled(STEM_CHANNELS, stream.width)
    stem = nn.Sequential(nn.Conv2d(3, channels, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2))
    blocks = nn.ModuleList([stem])
    for number, (size, count) in enumerate(STAGES[: stream.blocks - 1], start=1):
        size = scaled(size, stream.width)
        sizes = itertools.pairwise([channels, *[size] * count])
        residuals = [Residual(a, b, down=number > 1 and i == 0) for i, (a, b) in enumerate(sizes)]
        blocks.append(nn.Sequential(*residuals))
        channels = size
    return blocks.to(memory_format=torch.channels_last)  # this is 1.2 to 1.4 times as fast on a CPU


def _convolutions(blocks: nn.ModuleList) -> list[nn.Conv2d]:
    return [module for module in blocks.modules() if isinstance(module, nn.Conv2d)]


def _load(blocks: nn.ModuleList, tensors: dict[str, list[NDArray[np.float32]]]) -> None:
    pairs = zip(tensors["con_4"], tensors["affine_"], strict=True)
    for convolution, (values, affine) in zip(_convolutions(blocks), pairs, strict=False):
        weight, bias = np.split(values, [-convolution.out_channels])
        scale, shift = np.split(affine, 2)
        shape = convolution.weight.shape
        convolution.load_state_dict(
            {
                "weight": torch.from_numpy(weight.reshape(shape) * scale[:, None, None, None]),
                "bias": torch.from_numpy(bias * scale + shift),
            }
        )


def _initialise(blocks: nn.ModuleList, generator: torch.Generator) -> None:
    """Draw weights, and scale each residual by 1/sqrt(number of residuals).

    Without this the values of maps would explode, since the batch normalisations of the trained
    network are missing. Hayou et al. 2021, https://arxiv.org/abs/2010.12859.
    """
    initialise(blocks, generator)
    residuals = sum(count for _, count in STAGES)  # those of blocks that are not built count too
    with torch.no_grad():
        for module in blocks.modules():
            if isinstance(module, Residual):
                module.second.weight /= math.sqrt(residuals)


def _check_crop(crop_pixels: int, blocks: int) -> None:
    side = ((crop_pixels - 7) // 2 + 1 - 3) // 2 + 1  # side of the map that the stem gives
    for number in range(2, blocks):
        if side < 3:
            raise ConfigError(
                f"stream.crop_pixels is {crop_pixels}; block {number} of dlib_resnet would read a "
                f"map of {side} pixels and needs 3: use a larger crop, or stream.blocks={number}."
            )
        side //= 2  # side of the averaged input; that of the convolutions is not larger


def _extend(maps: Tensor, shape: list[int]) -> Tensor:
    """Append zeros to maps, up to a shape (C, H, W)."""
    missing = [b - a for a, b in zip(maps.shape[1:], shape, strict=True)]
    if not any(missing):
        return maps
    return functional.pad(maps, (0, missing[2], 0, missing[1], 0, missing[0]))
