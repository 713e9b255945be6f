"""The part of a model that a trial trains, put together from a config's choices.

Each stream is read to features. Up to the fusion point each goes its own way, through a recurrent
cell (or attention over the frames) and FC layers of its own; after it, all go one way together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from fer_core.config import Config, FusionConfig, GeometryConfig, Stream
from fer_core.models.fusion import fuse, fused_dim
from fer_core.models.head import classifier, fc_layers
from fer_core.models.recurrent import Attention, ConvLSTM, Recurrent
from fer_core.models.stream_readers import GeometryReader, ImageReader

_ALONE = FusionConfig(point="conv")


@dataclass(frozen=True)
class StreamInput:
    """What the network is given of one stream, and the blocks that it still has to go through."""

    sample: Tensor  # of one clip, as a batch
    blocks: nn.ModuleList  # empty where the whole backbone is stored, and for geometry
    frozen: int = 0  # how many of the blocks keep their weights
    maps: tuple[int, int, int] | None = None  # (C, H, W) that a ConvLSTM reads
    unreduced: int | None = None  # features of which the sample is an exact reduction


class Network(nn.Module):
    """What is given of each stream, and clip lengths (B,), to logits.

    These are (B, T, K), one row a frame, where frames vote; else (B, K).

    Raises: ConfigError where streams do not fit together, or the classes not the heads.
    """

    def __init__(
        self, config: Config, given: Sequence[StreamInput], classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.fusion, head = config.fusion or _ALONE, config.head
        self.classes = len(classes)
        point = self.fusion.point
        self.readers, self.ways = nn.ModuleList(), nn.ModuleList()
        own = {"conv": 0, "fc1": 1, "fc2": 2, "logits": head.fc_layers}[point]
        dims, wide = [], []
        for stream, each in zip(config.streams, given, strict=True):
            reader, dim = _reader(config, stream, each)
            way = Branch(config, dim, cell=point != "conv" and not stream.is_volume, fc=own)
            if point == "logits":
                way.classify(classes, config)
            wide.append(each.unreduced or dim)
            if each.unreduced and point != "conv":
                way.draw_as_if_reading(each.unreduced)
            self.readers.append(reader)
            self.ways.append(way)
            dims.append(way.feature_dim)
        shared = Branch(
            config, fused_dim(dims, self.fusion), cell=point == "conv", fc=head.fc_layers - own
        )
        if point != "logits" or self.fusion.how == "concat":
            shared.classify(classes, config)
        if point == "conv" and any(each.unreduced for each in given):
            shared.draw_as_if_reading(sum(wide))
        self.shared = shared

    def forward(self, given: Sequence[Tensor], lengths: Tensor) -> Tensor:
        streams = []
        for reader, way, each in zip(self.readers, self.ways, given, strict=True):
            streams.append(way(reader(each, lengths), lengths))
        fused = streams[0] if len(streams) == 1 else fuse(streams, self.fusion)
        logits: Tensor = self.shared(fused, lengths)
        return logits

    def lengths(self, given: Sequence[Tensor]) -> Tensor:
        """Give the lengths (B,) of clips that are all as long as what is given of them."""
        frames = (
            each.shape[1]
            for each, reader in zip(given, self.readers, strict=True)
            if not (isinstance(reader, ImageReader) and reader.stream.is_volume)
        )
        return torch.full((len(given[0]),), next(frames, 1))

    def unfrozen(self) -> Iterator[nn.Parameter]:
        """Give the parameters of backbone blocks that are trained."""
        for reader in self.readers:
            if isinstance(reader, ImageReader):
                yield from (p for p in reader.blocks.parameters() if p.requires_grad)


class Branch(nn.Module):
    """A cell over the frames, FC layers, a classifier: any of them may be missing."""

    def __init__(self, config: Config, feature_dim: int, *, cell: bool, fc: int) -> None:
        super().__init__()
        head = config.head
        self.cell = _cell(config, feature_dim) if cell else None
        if self.cell is not None:
            feature_dim = self.cell.feature_dim
        self.fc = fc_layers(feature_dim, fc, head.fc_width, head.dropout)
        self.feature_dim = head.fc_width if fc else feature_dim
        self.classifier: nn.Module | None = None

    def classify(self, classes: Sequence[str], config: Config) -> None:
        """Add the last layer."""
        head = config.head
        self.classifier = classifier(
            self.feature_dim, classes, dropout=head.dropout, two_heads=head.two_heads
        )
        self.feature_dim = len(classes)

    def draw_as_if_reading(self, features: int) -> None:
        """Draw the layers that read features as they would be, had these not been reduced.

        A layer drawn uniformly for D features and then turned onto a basis has weights of the
        same variance, 1 / 3D, as `torch.nn.Linear` draws them; a recurrent cell's heed no D.
        """
        if isinstance(self.cell, Recurrent):
            return
        reading = [self.cell, *(self.fc[:3] if len(self.fc) else [self.classifier])]
        bound = features**-0.5
        with torch.no_grad():
            for layer in nn.ModuleList(part for part in reading if part is not None).modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0, bound / 3**0.5)
                    layer.bias.uniform_(-bound, bound)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        if self.cell is not None and features.ndim == 3:
            features = self.cell(features, lengths)
        features = self.fc(features)
        return features if self.classifier is None else self.classifier(features)


def _cell(config: Config, feature_dim: int) -> Recurrent | Attention | None:
    recurrent = config.recurrent
    if all(stream.is_volume for stream in config.streams):
        return None
    if recurrent is not None and recurrent.cell != "convlstm":
        return Recurrent(feature_dim, **asdict(recurrent))
    return Attention(feature_dim) if config.voting == "attention" else None


def _reader(
    config: Config, stream: Stream, given: StreamInput
) -> tuple[ImageReader | GeometryReader, int]:
    if isinstance(stream, GeometryConfig):
        points = GeometryReader(stream, given.sample.shape[-1])
        return points, points.feature_dim
    cell = config.recurrent
    if cell is None or cell.cell != "convlstm":
        image = ImageReader(stream, given.blocks, frozen=given.frozen)
        return image, image.settle(given.sample)
    maps = given.maps or map_shape(given)
    convlstm = ConvLSTM(maps[0], hidden=cell.hidden, layers=cell.layers, dropout=cell.dropout)
    convlstm.to(given.sample.device)
    image = ImageReader(stream, given.blocks, frozen=given.frozen, convlstm=convlstm, maps=maps)
    return image, image.settle(given.sample)


def map_shape(given: StreamInput) -> tuple[int, int, int]:
    """Say what maps (C, H, W) the blocks make of a frame."""
    maps = given.sample[:1, 0]
    with torch.no_grad():
        for block in given.blocks.eval():
            maps = block(maps)
    return maps.shape[1], maps.shape[2], maps.shape[3]


def count(modules: Sequence[nn.Module]) -> int:
    """Count the parameters of several parts of a model."""
    return sum(p.numel() for module in modules for p in module.parameters())
