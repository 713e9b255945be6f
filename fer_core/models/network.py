"""Assemble the trainable part of a model from the choices of a `Config`.

Each stream is read to features by its stream reader. Up to the fusion point each stream has a
branch of its own: a recurrent cell (or attention over the frames) and FC layers. There the streams
are fused, and one shared branch leads to the logits. The trial room builds a `Network` for each
fold, training fits it, and predict loads it from a model folder.
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

BRANCHES = "ways"  # what parameters of branches are called in saved models: ways.0.fc.1.weight
_ONE_STREAM = FusionConfig(point="conv")  # for a config without fusion: all layers are shared


@dataclass(frozen=True)
class StreamInput:
    """Describe what the network reads of one stream, and which blocks it runs on that itself."""

    sample: Tensor  # the input of one clip, as a batch of one
    blocks: nn.ModuleList  # empty where the whole backbone's features are stored, and for geometry
    frozen: int = 0  # how many of the blocks, from the first on, keep their weights
    maps: tuple[int, int, int] | None = None  # shape (C, H, W) of stored maps for a ConvLSTM
    unreduced: int | None = None  # features before they were reduced without loss; None: not so


class Network(nn.Module):
    """Map the inputs of each stream, and clip lengths (B,), to logits.

    Logits are (B, T, K), one row a frame, where the votes of frames are combined later, and
    otherwise (B, K).

    Raises: ConfigError where streams of these sizes cannot be fused, or the classes do not suit
        the heads.
    """

    def __init__(
        self, config: Config, inputs: Sequence[StreamInput], classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.fusion, head = config.fusion or _ONE_STREAM, config.head
        self.classes = len(classes)
        point = self.fusion.point
        self.readers, branches = nn.ModuleList(), nn.ModuleList()
        self.add_module(BRANCHES, branches)
        own_layers = {"conv": 0, "fc1": 1, "fc2": 2, "logits": head.fc_layers}[point]
        dims, unreduced_dims = [], []
        for stream, stream_input in zip(config.streams, inputs, strict=True):
            reader, dim = _reader(config, stream, stream_input)
            has_cell = point != "conv" and not stream.is_volume
            branch = Branch(config, dim, cell=has_cell, fc=own_layers)
            if point == "logits":
                branch.add_classifier(classes, config)
            unreduced_dims.append(stream_input.unreduced or dim)
            if stream_input.unreduced and point != "conv":
                branch.initialise_as_if_reading(stream_input.unreduced)
            self.readers.append(reader)
            branches.append(branch)
            dims.append(branch.feature_dim)
        shared_layers = head.fc_layers - own_layers
        shared = Branch(
            config, fused_dim(dims, self.fusion), cell=point == "conv", fc=shared_layers
        )
        if point != "logits" or self.fusion.how == "concat":
            shared.add_classifier(classes, config)
        if point == "conv" and any(each.unreduced for each in inputs):
            shared.initialise_as_if_reading(sum(unreduced_dims))
        self.shared = shared

    @property
    def branches(self) -> nn.ModuleList:
        """The branch of each stream, up to the fusion point."""
        branches = self.get_submodule(BRANCHES)
        assert isinstance(branches, nn.ModuleList)
        return branches

    def forward(self, inputs: Sequence[Tensor], lengths: Tensor) -> Tensor:
        streams = []
        for reader, branch, x in zip(self.readers, self.branches, inputs, strict=True):
            streams.append(branch(reader(x, lengths), lengths))
        fused = streams[0] if len(streams) == 1 else fuse(streams, self.fusion)
        logits: Tensor = self.shared(fused, lengths)
        return logits

    def lengths(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the lengths (B,) of clips without padding: the number of frames of the inputs.

        Inputs of volume streams are not counted; where all streams are volumes, lengths are 1.
        """
        frames = (
            x.shape[1]
            for x, reader in zip(inputs, self.readers, strict=True)
            if not (isinstance(reader, ImageReader) and reader.stream.is_volume)
        )
        return torch.full((len(inputs[0]),), next(frames, 1))

    def unfrozen(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of backbone blocks that are trained."""
        for reader in self.readers:
            if isinstance(reader, ImageReader):
                yield from (p for p in reader.blocks.parameters() if p.requires_grad)


class Branch(nn.Module):
    """A cell over the frames, FC layers and a classifier, one after another; each may be missing.

    A network has one branch for each stream before the fusion point, and one for all after it.
    """

    def __init__(self, config: Config, feature_dim: int, *, cell: bool, fc: int) -> None:
        super().__init__()
        head = config.head
        self.cell = _cell(config, feature_dim) if cell else None
        if self.cell is not None:
            feature_dim = self.cell.feature_dim
        self.fc = fc_layers(feature_dim, fc, head.fc_width, head.dropout)
        self.feature_dim = head.fc_width if fc else feature_dim
        self.classifier: nn.Module | None = None

    def add_classifier(self, classes: Sequence[str], config: Config) -> None:
        """Add the last layer, so that the branch gives logits."""
        head = config.head
        self.classifier = classifier(
            self.feature_dim, classes, dropout=head.dropout, two_heads=head.two_heads
        )
        self.feature_dim = len(classes)

    def initialise_as_if_reading(self, features: int) -> None:
        """Draw the weights that read the features anew, as for that many features.

        Features that were reduced without loss should train as the unreduced ones would. Torch
        draws the weights of a linear layer uniformly, with variance 1 / 3D for D features. Turned
        onto the basis of the reduction, such weights keep this variance, so they are drawn with
        it. Torch draws those of a recurrent cell independently of D: they stay.
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
    """Build the cell or the attention that the config asks for, where any stream has frames."""
    recurrent = config.recurrent
    if all(stream.is_volume for stream in config.streams):
        return None
    if recurrent is not None and recurrent.cell != "convlstm":
        return Recurrent(feature_dim, **asdict(recurrent))
    return Attention(feature_dim) if config.voting == "attention" else None


def _reader(
    config: Config, stream: Stream, stream_input: StreamInput
) -> tuple[ImageReader | GeometryReader, int]:
    """Build the reader of a stream, and count the features that it gives."""
    sample, blocks, frozen = stream_input.sample, stream_input.blocks, stream_input.frozen
    if isinstance(stream, GeometryConfig):
        points = GeometryReader(stream, sample.shape[-1])
        return points, points.feature_dim
    cell = config.recurrent
    if cell is None or cell.cell != "convlstm":
        image = ImageReader(stream, blocks, frozen=frozen)
        return image, image.finish_for(sample)
    maps = stream_input.maps or map_shape(stream_input)
    convlstm = ConvLSTM(maps[0], hidden=cell.hidden, layers=cell.layers, dropout=cell.dropout)
    convlstm.to(sample.device)
    image = ImageReader(stream, blocks, frozen=frozen, convlstm=convlstm, maps=maps)
    return image, image.finish_for(sample)


def map_shape(stream_input: StreamInput) -> tuple[int, int, int]:
    """Run the blocks on one frame, and return the shape (C, H, W) of the maps that they give."""
    maps = stream_input.sample[:1, 0]
    with torch.no_grad():
        for block in stream_input.blocks.eval():
            maps = block(maps)
    return maps.shape[1], maps.shape[2], maps.shape[3]


def count(modules: Sequence[nn.Module]) -> int:
    """Count the parameters of several modules, frozen ones included."""
    return sum(p.numel() for module in modules for p in module.parameters())
