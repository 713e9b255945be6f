"""Build networks of torchvision and timm by name, and cut them into blocks.

A network is taken apart into the parts that it runs one after another, up to its pooling over
positions. A new block starts before a part with weights that makes the maps smaller, and after a
pooling that does: the blocks of a ResNet are its stem and its four stages. In a transformer the
patches are the first block, and each layer is another. Its N tokens (with the class token) leave a
block as maps (B, D, N, 1), so that pooling over positions is over all tokens. Weights are never
downloaded: the user supplies a file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fer_core.config import StreamConfig, require
from fer_core.errors import ConfigError, unknown
from fer_core.models.backbones.backbone import Backbone, fill, normalise_unit, seed_library

KINDS = (  # torchvision's modules, except googlenet and inception, which run parts in parallel
    *("alexnet", "convnext", "densenet", "efficientnet", "maxvit", "mnasnet", "mobilenetv2"),
    *("mobilenetv3", "regnet", "resnet", "shufflenetv2", "squeezenet", "swin_transformer"),
    *("vgg", "vision_transformer"),
)
ENDS = ("avgpool", "classifier", "fc")  # the children of torchvision's networks after the maps
RENAMED = (  # old names in torchvision's files, and today's; torchvision's loaders rename them too
    (r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)", r"\1"),
    (r"\.mlp\.linear_1\.", ".mlp.0."),
    (r"\.mlp\.linear_2\.", ".mlp.3."),
)


@dataclass(frozen=True, kw_only=True)
class LibraryNetwork:
    """Hold a whole network of a library, and what is needed to make a backbone of it.

    That is the size and the normalisation of its images, and a function that splits the network
    into the parts that it runs one after another.
    """

    network: Any
    side: int  # side of its square input, in pixels
    mean: Sequence[float]  # RGB, for pixels of 0..1
    std: Sequence[float]
    take_apart: Callable[[Any, Tensor], list[nn.Module]]  # from the network and an image to parts


class Block(nn.Sequential):
    """Run parts one after another, from maps (B, C, H, W) to maps.

    The parts may read and give other layouts, as `_layout` names them: the block converts.
    """

    def __init__(self, parts: Sequence[nn.Module], reads: str, gives: str) -> None:
        super().__init__(*parts)
        self.reads, self.gives = reads, gives

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps if self.reads == "maps" else maps.movedim(1, -1)
        maps = maps.flatten(1, 2) if self.reads == "tokens" else maps
        for part in self:
            maps = part(maps)
        maps = maps.unsqueeze(2) if self.gives == "tokens" else maps
        return maps if self.gives == "maps" else maps.movedim(-1, 1)


class Patches(nn.Module):
    """Do what torchvision's vision transformer does before its layers: images to (B, N, D)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.project, self.class_token = network.conv_proj, network.class_token
        self.positions = network.encoder.pos_embedding

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.project(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return torch.add(tokens, self.positions)


class BeforeLayers(nn.Module):
    """Do what a network of timm does before its layers; the layers were taken out of `network`."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.network.forward_features(pixels)
        return tokens


def build(stream: StreamConfig, file: Path | None, generator: torch.Generator) -> Backbone:
    """Build "LIBRARY:NAME", with a file's weights or random ones, and cut it into blocks.

    Raises: ConfigError for an unknown network or one that cannot be cut, and for a crop or a
        number of blocks that does not suit it; WeightsError where the file does not fit.
    """
    library, _, name = stream.backbone.partition(":")
    seed_library(generator)
    loaded = LIBRARIES[library](name)
    weights_sha256, source = fill(loaded.network, stream, file, generator, convert=renamed)
    image = torch.rand(1, 3, loaded.side, loaded.side, generator=generator)
    with torch.no_grad():
        blocks = _blocks(loaded.take_apart(loaded.network.eval(), image), image)
        allowed = f"1 to {len(blocks)}, the blocks of {stream.backbone}"
        require(stream.blocks <= len(blocks), "stream.blocks", stream.blocks, allowed)
        crop_pixels = stream.crop_pixels or loaded.side
        if crop_pixels != loaded.side:
            _check_crop(blocks[: stream.blocks], crop_pixels, f"{name}, whose own is {loaded.side}")
    return Backbone(
        blocks=nn.ModuleList(blocks[: stream.blocks]).train(),
        crop_pixels=crop_pixels,
        preprocess=normalise_unit(loaded.mean, loaded.std),
        weights_sha256=weights_sha256,
        source=source,
    )


def _torchvision(name: str) -> LibraryNetwork:
    from torchvision import models  # the import takes a second, and other backbones do without it

    if name not in (names := models.list_models(module=models)):
        raise ConfigError(_unknown("torchvision", name, names))
    kind = models.get_model_builder(name).__module__.rpartition(".")[2]
    if kind not in KINDS:
        kinds = f"of torchvision's networks these kinds can be: {', '.join(KINDS)}"
        raise ConfigError(f"torchvision:{name} cannot be cut into blocks; {kinds}.")
    network = models.get_model(name, weights=None)
    preset = models.get_model_weights(name).DEFAULT.transforms()  # this downloads no weights
    return LibraryNetwork(
        network=network,
        side=getattr(network, "image_size", preset.crop_size[0]),
        mean=preset.mean,
        std=preset.std,
        take_apart=_parts_of_torchvision,
    )


def _timm(name: str) -> LibraryNetwork:
    try:
        import timm
    except ImportError as error:
        message = f"timm:{name} needs timm, which is not installed; run pip install timm."
        raise ConfigError(message) from error
    names = {*timm.list_models(), *timm.list_pretrained()}  # names as NAME, and as NAME.TAG
    if name not in names:
        raise ConfigError(_unknown("timm", name, names))
    network: Any = timm.create_model(name, pretrained=False)
    settings = network.pretrained_cfg
    return LibraryNetwork(
        network=network,
        side=settings["input_size"][-1],
        mean=settings["mean"],
        std=settings["std"],
        take_apart=_parts_of_timm,
    )


LIBRARIES: Mapping[str, Callable[[str], LibraryNetwork]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}


def _unknown(library: str, name: str, names: Iterable[str]) -> str:
    return unknown(f"{library} network", name, get_close_matches(name, names, n=5, cutoff=0.0))


def renamed(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Replace the old names in a state dict of torchvision by today's."""
    for pattern, now in RENAMED:
        state = {re.sub(pattern, now, name): tensor for name, tensor in state.items()}
    return state


def _parts_of_torchvision(network: Any, _image: Tensor) -> list[nn.Module]:
    """List the parts of a network of `KINDS`, in the order in which it runs them."""
    kind = type(network).__name__
    if kind == "VisionTransformer":
        return [Patches(network), *network.encoder.layers, network.encoder.ln]
    children = takewhile(lambda named: named[0] not in ENDS, network.named_children())
    parts = [part for _, child in children for part in _flat(child)]
    return [*parts, nn.ReLU()] if kind == "DenseNet" else parts  # its `forward` calls relu itself


def _parts_of_timm(network: Any, image: Tensor) -> list[nn.Module]:
    """List the children of a network that, run one after another, give the network's features.

    Raises: ConfigError where no number of them does.
    """
    wanted, maps, parts = network.forward_features(image), image, []
    try:
        for child in _children(network):
            for part in _flat(child):
                maps = part(maps)
                parts.append(part)
            if torch.equal(maps, wanted):
                return parts
        raise ValueError("no child gave the features")
    except Exception as error:  # parts that do not run one after another raise errors of any kind
        name = network.pretrained_cfg["architecture"]
        raise ConfigError(
            f"timm:{name} cannot be cut into blocks; use a network of timm whose parts run one "
            "after another, such as a ResNet, EfficientNet, Swin or ViT."
        ) from error


def _children(network: Any) -> list[nn.Module]:
    """List a network's children; what a transformer does before its layers becomes one of them."""
    named = dict(network.named_children())
    if not {"patch_embed", "blocks"} <= named.keys():
        return list(named.values())
    later = list(named)[list(named).index("blocks") :]
    for name in later:
        setattr(network, name, nn.Sequential())  # an empty one returns its input
    return [BeforeLayers(network), *(named[name] for name in later)]


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts of nested lists and sequences of modules."""
    if isinstance(module, nn.ModuleList) or type(module).forward is nn.Sequential.forward:
        for child in module.children():
            yield from _flat(child)
    else:
        yield module


def _blocks(parts: Iterable[nn.Module], maps: Tensor) -> list[Block]:
    """Group parts into blocks, by how each of them changes the maps of an image."""
    blocks: list[Block] = []
    modules: list[nn.Module] = []
    start = _layout(maps)
    for part in parts:
        reads, side = _layout(maps), _side(maps)
        maps = part(maps)
        smaller, weighted = _side(maps) < side, any(True for _ in part.parameters())
        layer = reads == "tokens" and any(True for _ in part.children())
        if modules and (layer or (smaller and weighted)):
            blocks.append(Block(modules, start, reads))
            modules, start = [], reads
        modules.append(part)
        if smaller and not weighted:
            blocks.append(Block(modules, start, _layout(maps)))
            modules, start = [], _layout(maps)
    return [*blocks, Block(modules, start, _layout(maps))] if modules else blocks


def _layout(maps: Tensor) -> str:
    """Name the layout of a square image's maps.

    It is "tokens" (B, N, D), "rows" (B, H, W, C) or "maps" (B, C, H, W).
    """
    if maps.ndim == 3:
        return "tokens"
    return "rows" if maps.shape[1] == maps.shape[2] != maps.shape[3] else "maps"


def _side(maps: Tensor) -> int:
    return maps.shape[-1 if _layout(maps) == "maps" else 1]


def _check_crop(blocks: Iterable[nn.Module], crop_pixels: int, name: str) -> None:
    maps = torch.zeros(1, 3, crop_pixels, crop_pixels)
    try:
        for block in blocks:
            maps = block(maps)
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"stream.crop_pixels is {crop_pixels}, which does not suit {name}; use its own size, "
            "or leave stream.crop_pixels out."
        ) from error
