"""The table of all parts of networks, each in a small network.

What every model promises is tested over this table.
"""

from dataclasses import dataclass

import torch

from fer_core.config import (
    BACKBONES,
    CELLS,
    JOININGS,
    POINTS,
    POOLINGS,
    VOLUMES,
    VOTINGS,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.models.backbones import build
from fer_core.models.network import Network, StreamInput

CLASSES = ("anger_acted", "anger_genuine", "fear_acted", "fear_genuine")
FRAMES, CROP_PIXELS, POINT_DIM = 4, 64, 12
MAPS = (6, 3, 3)  # shape of the maps of stored activations
LIBRARY = "torchvision:mobilenet_v3_small"
HEAD = HeadConfig(fc_layers=2, fc_width=8)


def stream(backbone="dlib_resnet", **choices):
    """Give a stream whose backbone is small and wholly trained."""
    wide = backbone.endswith("_18") or ":" in backbone  # these have a fixed width
    common = {
        "weights": "random",
        "blocks": 2 if wide else min(BACKBONES[backbone], 4),
        "freeze_depth": 0,
        "pooling": "avg",
        "crop_pixels": CROP_PIXELS,
        "width": 1.0 if wide else 1 / 8,
    }
    return StreamConfig(backbone=backbone, **common | choices)


def stored(**choices):
    """Give a stream whose features are stored."""
    return stream(blocks=3, freeze_depth=3, **choices)


def cell(name, **choices):
    return RecurrentConfig(cell=name, hidden=6, **choices)


def of(*streams, **choices):
    return Config(streams=streams, head=choices.pop("head", HEAD), **choices)


def fused(point, how):
    fusion = FusionConfig(point=point, how=how)
    geometry = GeometryConfig(hidden=MAPS[0])
    return of(stored(), geometry, stored(view="frontal"), fusion=fusion)


PARTS = {
    **{f"backbone {name}": of(stream(name)) for name in (*BACKBONES, LIBRARY)},
    **{f"pooling {kind}": of(stream(pooling=kind)) for kind in POOLINGS},
    **{f"voting {rule}": of(stored(), voting=rule) for rule in VOTINGS},
    **{f"cell {name}": of(stored(), recurrent=cell(name)) for name in CELLS},
    **{
        f"cell {name}, both ways": of(
            stored(), recurrent=cell(name, layers=3, bidirectional=True, dropout=0.2)
        )
        for name in CELLS
        if name != "convlstm"
    },
    "gru on images": of(stream(), recurrent=cell("gru")),
    "convlstm on images": of(stream(), recurrent=cell("convlstm", layers=2)),
    "geometry": of(GeometryConfig()),
    "raw geometry": of(GeometryConfig(hidden=0), recurrent=cell("lstm")),
    **{f"fusion {point} {how}": fused(point, how) for point in POINTS for how in JOININGS},
    "frames and a volume": of(stored(), stream("c3d"), fusion=FusionConfig(point="fc1")),
    "a cell beside a volume": of(
        stored(), stream("c3d"), fusion=FusionConfig(point="logits"), recurrent=cell("gru")
    ),
    **{f"{n} fc layers": of(stored(), head=HeadConfig(fc_layers=n, fc_width=8)) for n in range(4)},
    "two heads": of(stored(), head=HeadConfig(fc_layers=1, fc_width=8, two_heads=True)),
    "half frozen, on images": of(stream(freeze_depth=2)),
}


@dataclass(frozen=True)
class Built:
    """A network, and a batch for it."""

    network: Network
    given: list[torch.Tensor]

    def logits(self, lengths=None, given=None):
        given = self.given if given is None else given
        lengths = self.network.lengths(given) if lengths is None else torch.tensor(lengths)
        return self.network(given, lengths)


def built(config, *, clips=2, frames=FRAMES, seed=0):
    """Build the network of a config, in eval mode, and random clips as its input."""
    torch.manual_seed(seed)
    parts = [_part(config, each, clips, frames) for each in config.streams]
    network = Network(config, [stream_input for stream_input, _ in parts], CLASSES).eval()
    return Built(network, [batch for _, batch in parts])


def _part(config, each, clips, frames):
    if isinstance(each, GeometryConfig):
        batch = torch.randn(clips, frames, POINT_DIM)
        return StreamInput(batch[:1], torch.nn.ModuleList()), batch
    if each.frozen:
        convlstm = config.recurrent is not None and config.recurrent.cell == "convlstm"
        dim = MAPS[0] * MAPS[1] * MAPS[2] if convlstm else MAPS[0]
        batch = torch.randn(clips, frames, dim)
        return StreamInput(batch[:1], torch.nn.ModuleList(), maps=MAPS if convlstm else None), batch
    backbone = build(each, weights_file=None, seed=0)
    pixels = 255 * torch.rand(clips, frames, 3, CROP_PIXELS, CROP_PIXELS)
    if each.backbone in VOLUMES:
        batch = backbone.preprocess(pixels.transpose(1, 2))
    else:
        flat = backbone.preprocess(pixels.flatten(0, 1))
        batch = flat.view(clips, frames, *flat.shape[1:])
    return StreamInput(batch[:1], backbone.blocks, each.freeze_depth), batch
