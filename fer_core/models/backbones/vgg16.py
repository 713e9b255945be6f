"""VGG-16, configuration D: five blocks of 3x3 convolutions, each ending in a max pool.

Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556. Trained on faces it is VGG-Face,
Parkhi et al. 2015, https://www.robots.ox.ac.uk/~vgg/publications/2015/Parkhi15/. Weights are read
from a file: those of VGG-Face (CC BY-NC 4.0), which the user supplies in any of the formats that
`fer_core.models.vgg_face` reads, or torchvision's for ImageNet. The fully connected layers of a
file are checked, but not used.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError
from fer_core.models import vgg_face
from fer_core.models.backbones.backbone import Backbone, Normalise, initialise, scaled
from fer_core.models.vgg_face.layers import LAYERS
from fer_core.storage.files import file_sha256
from fer_core.weight_files import existing, hub_checkpoint

CROP_PIXELS = 224  # Simonyan and Zisserman 2015, section 2.1
CHANNELS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # ibid., table 1, D
CONNECTED = 4096  # features of fc6 and fc7; ibid., FC-4096
MAP_SIDE = CROP_PIXELS // 2 ** len(CHANNELS)  # side of the map that fc6 reads
CLASSES = {"file": 2622, "imagenet": 1000}  # outputs of fc8; Parkhi et al. 2015, section 3
# The mean is RGB and there is no division, by the meta of vgg_face_dag.pth. keras-vggface agrees;
# others, such as PyVGGFace's demo.py, read it as BGR: `StreamConfig.mean_order` chooses.
FACE_MEAN = (129.1863, 104.7624, 93.5940)
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 255 times torchvision's mean
IMAGENET_STD = (58.395, 57.12, 57.375)
IMAGENET_FILE = "vgg16-397923af.pth"  # torchvision, VGG16_Weights.IMAGENET1K_V1


def build(stream: StreamConfig, file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks; the input scale is that of the weights which `stream` asks for.

    Raises: ConfigError for weights "file" without a file, or a mean order with other weights;
        WeightsError where a file does not fit.
    """
    if stream.mean_order is not None and stream.weights != "file":
        raise ConfigError(
            f"stream.mean_order is {stream.mean_order!r}; it must be None where weights are "
            f"{stream.weights!r}: it tells how to read the mean of VGG-Face, weights 'file'."
        )
    blocks = _blocks(stream)
    crop_pixels = stream.crop_pixels or CROP_PIXELS
    if stream.weights == "random":
        initialise(blocks, generator)
        return Backbone(
            blocks=blocks,
            crop_pixels=crop_pixels,
            preprocess=Normalise(IMAGENET_MEAN, IMAGENET_STD),
            weights_sha256=f"random:vgg16:{generator.initial_seed()}:{stream.width!r}",
            source="random",
        )
    path = _path(stream.weights, file)
    digest = file_sha256(path)
    preprocess, source = Normalise(IMAGENET_MEAN, IMAGENET_STD), "imagenet"
    weights = vgg_face.read(path, shapes(CLASSES[stream.weights]), weights=stream.weights)
    _fill(blocks, weights.tensors)
    if stream.weights == "file":
        order = stream.mean_order or "rgb"
        preprocess = Normalise(FACE_MEAN if order == "rgb" else FACE_MEAN[::-1], (1.0, 1.0, 1.0))
        mean = f"mean {order} {' '.join(f'{value:.2f}' for value in FACE_MEAN)}"
        source = f"file:{path.name} ({weights.format}, {weights.order}), {mean}"
    return Backbone(
        blocks=blocks,
        crop_pixels=crop_pixels,
        preprocess=preprocess,
        weights_sha256=f"{digest}:bgr" if stream.mean_order == "bgr" else digest,
        source=f"{source}, sha256 {digest[:12]}",
    )


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the network, by the names that `vgg_face` uses."""
    channels = [3, *(size for block in CHANNELS for size in block)]
    weights: list[tuple[int, ...]] = [(out, into, 3, 3) for into, out in pairwise(channels)]
    sizes = (channels[-1] * MAP_SIDE**2, CONNECTED, CONNECTED, classes)
    weights += [(out, into) for into, out in pairwise(sizes)]
    return {
        f"{layer}.{kind}": shape
        for layer, weight in zip(LAYERS, weights, strict=True)
        for kind, shape in (("weight", weight), ("bias", weight[:1]))
    }


def _path(weights: str, file: Path | None) -> Path:
    """Return the user's file, or without one, torchvision's ImageNet file in torch's folder."""
    if file is not None:
        return existing(file)
    if weights == "file":
        raise ConfigError("vgg16 with weights 'file' needs --weights vgg16=FILE.")
    return hub_checkpoint(IMAGENET_FILE)


def _fill(blocks: nn.ModuleList, tensors: Mapping[str, Tensor]) -> None:
    convolutions = [module for module in blocks.modules() if isinstance(module, nn.Conv2d)]
    for layer, convolution in zip(LAYERS, convolutions, strict=False):  # only the built blocks
        convolution.load_state_dict({k: tensors[f"{layer}.{k}"] for k in ("weight", "bias")})


def _blocks(stream: StreamConfig) -> nn.ModuleList:
    blocks, channels = nn.ModuleList(), 3
    for sizes in CHANNELS[: stream.blocks]:
        layers: list[nn.Module] = []
        for size in (scaled(size, stream.width) for size in sizes):
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU(inplace=True)]
            channels = size
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    return blocks.to(memory_format=torch.channels_last)  # this is 1.2 to 1.4 times as fast on a CPU
