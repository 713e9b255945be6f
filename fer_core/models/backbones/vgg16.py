"""VGG-16, configuration D: five blocks of 3x3 convolutions, a max pool at the end of each.

Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556; as VGG-Face, Parkhi et al. 2015,
https://www.robots.ox.ac.uk/~vgg/publications/2015/Parkhi15/. Weights are read from a state dict
that the user supplies: VGG-Face under the names of Albanie's vgg_face_dag.pth (CC BY-NC 4.0), or
torchvision's ImageNet file. The fully connected layers in them are left out.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.manifest import file_sha256
from fer_core.models.backbones.backbone import Backbone, Normalise, initialise, scaled
from fer_core.weight_files import existing, hub_checkpoint

CROP_PIXELS = 224  # Simonyan and Zisserman 2015, section 2.1
CHANNELS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # ibid., table 1, D
FACE_MEAN = (129.1863, 104.7624, 93.5940)  # RGB; meta of vgg_face_dag.pth, which divides by 1
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 255 x torchvision's
IMAGENET_STD = (58.395, 57.12, 57.375)
IMAGENET_FILE = "vgg16-397923af.pth"  # torchvision, VGG16_Weights.IMAGENET1K_V1
FULLY_CONNECTED = frozenset(  # in the files, not in the blocks
    f"{layer}.{kind}"
    for layer in ("fc6", "fc7", "fc8", "classifier.0", "classifier.3", "classifier.6")
    for kind in ("weight", "bias")
)


def build(stream: StreamConfig, file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks; `stream.weights` says whose weights and so which input scale.

    Raises: ConfigError where weights "file" has none; WeightsError where a file does not fit.
    """
    blocks = _blocks(stream)
    crop_pixels = stream.crop_pixels or CROP_PIXELS
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if stream.weights == "random":
        initialise(blocks, generator)
        return Backbone(
            blocks=blocks,
            crop_pixels=crop_pixels,
            preprocess=Normalise(mean, std),
            weights_sha256=f"random:vgg16:{generator.initial_seed()}:{stream.width!r}",
            source="random",
        )
    if stream.weights == "file":
        if file is None:
            raise ConfigError("vgg16 with weights 'file' needs --weights vgg16=FILE.")
        path, source, names = existing(file), f"file:{file.name}", _face_names()
        mean, std = FACE_MEAN, (1.0, 1.0, 1.0)
    else:
        path = hub_checkpoint(IMAGENET_FILE) if file is None else existing(file)
        source, names = "imagenet", _torchvision_names()
    load(blocks, path, names)
    digest = file_sha256(path)
    return Backbone(
        blocks=blocks,
        crop_pixels=crop_pixels,
        preprocess=Normalise(mean, std),
        weights_sha256=digest,
        source=f"{source}, sha256 {digest[:12]}",
    )


def load(blocks: nn.ModuleList, path: Path, names: list[str]) -> None:
    """Copy a state dict into the convolutions, which `names` lists in order for all five blocks.

    Raises: WeightsError that lists the tensors which are missing, unknown or of another shape.
    """
    state = _read(path)
    expected = {
        f"{name}.{kind}": shape
        for name, shapes in zip(names, _shapes(), strict=True)
        for kind, shape in shapes.items()
    }
    faults = [f"{name} is missing" for name in expected.keys() - state.keys()]
    faults += [f"{n} is unknown" for n in state.keys() - expected.keys() - FULLY_CONNECTED]
    faults += [
        f"{name} is {tuple(state[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if faults:
        raise WeightsError(f"weights file {path} does not fit vgg16: {'; '.join(sorted(faults))}.")
    convolutions = [module for module in blocks.modules() if isinstance(module, nn.Conv2d)]
    for name, convolution in zip(names, convolutions, strict=False):  # blocks may be cut short
        convolution.load_state_dict(
            {"weight": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says what is wrong
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"weights file {path} cannot be read as tensors alone; give a state dict that "
            "torch.save wrote (.pth)."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(f"weights file {path} holds no state dict of names and tensors.")
    return state


def _blocks(stream: StreamConfig) -> nn.ModuleList:
    blocks, channels = nn.ModuleList(), 3
    for sizes in CHANNELS[: stream.blocks]:
        layers: list[nn.Module] = []
        for size in (scaled(size, stream.width) for size in sizes):
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU(inplace=True)]
            channels = size
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    return blocks.to(memory_format=torch.channels_last)  # 1.2 to 1.4 times as fast on a CPU


def _shapes() -> list[dict[str, tuple[int, ...]]]:
    sizes = [size for block in CHANNELS for size in block]
    return [
        {"weight": (out, channels, 3, 3), "bias": (out,)}
        for channels, out in zip([3, *sizes[:-1]], sizes, strict=True)
    ]


def _face_names() -> list[str]:
    return [f"conv{b}_{i}" for b, block in enumerate(CHANNELS, 1) for i in range(1, len(block) + 1)]


def _torchvision_names() -> list[str]:
    names, position = [], 0
    for block in CHANNELS:
        names += [f"features.{position + 2 * i}" for i in range(len(block))]  # a ReLU after each
        position += 2 * len(block) + 1  # and a pool after the block
    return names
