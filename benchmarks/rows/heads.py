"""Row 8: many heads trained as one stacked network, as packs are, against one after the other.

The baseline trains each head with torch's fused Adam. Rows with a low target make sure that
stacking never loses much where it cannot gain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.baselines import heads
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import one_thread, turns
from fer_core.arrays import Array
from fer_core.config import Config, HeadConfig, OptimizerConfig, RecurrentConfig, StreamConfig
from fer_core.models.head import classifier, fc_layers
from fer_core.models.network import Network, StreamInput
from fer_core.training.fits import Fit, Group
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.stack import Stack, grouped

CLASSES = tuple("abcdef")
BATCH, FRAMES = 32, 5
NEVER_BELOW = 0.95


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A head: fully connected layers, or a cell over the frames of a clip."""

    features: int
    layers: tuple[int, ...] = ()
    cell: str | None = None
    hidden: int = 64


HEADS: Mapping[str, tuple[Shape, float]] = {  # name: the head, and the target
    "linear 512": (Shape(features=512), 5.0),
    "100-64-32": (Shape(features=100, layers=(64, 32)), 3.5),
    "512-128-64": (Shape(features=512, layers=(128, 64)), 1.8),
    "gru 64": (Shape(features=100, cell="gru"), 2.0),
    "rnn 64": (Shape(features=100, cell="rnn"), 3.0),
    "lstm 64": (Shape(features=100, cell="lstm"), NEVER_BELOW),
    "lstm 128": (Shape(features=100, cell="lstm", hidden=128), NEVER_BELOW),
    "512-1024": (Shape(features=512, layers=(1024,)), NEVER_BELOW),
}
FEW: Sequence[str] = ("linear 512", "512-128-64", "gru 64", "lstm 128")  # also two at a time


def row(*, members: int = 32, clips: int = 512, repeats: int = 4) -> list[Ratio]:
    """Compare an epoch of each kind of head."""
    with one_thread():
        return list(_ratios(members, clips, repeats))


def _ratios(members: int, clips: int, repeats: int) -> Iterator[Ratio]:
    for name, (shape, target) in HEADS.items():
        yield compared(name, shape, target, members=members, clips=clips, repeats=repeats)
    for name in FEW:
        shape = HEADS[name][0]
        yield compared(name, shape, NEVER_BELOW, members=2, clips=clips, repeats=repeats)


def compared(
    name: str, shape: Shape, target: float, *, members: int, clips: int, repeats: int
) -> Ratio:
    """Train several heads of one shape for an epoch, stacked and one after the other."""
    torch.manual_seed(0)
    frames = torch.randn(clips, FRAMES if shape.cell else 1, shape.features)
    labels = np.random.default_rng(0).integers(0, len(CLASSES), clips)
    group = grouped(_fits(shape, frames, labels, members), Widths(None, torch.device("cpu")))
    inputs = frames if shape.cell else frames[:, 0]
    plain = [_plain(shape, lr, decay) for lr, decay in _settings(members)]

    def one_after_the_other() -> None:
        for trainer in plain:
            trainer.epoch(inputs, torch.from_numpy(labels), BATCH)

    group.epoch()
    one_after_the_other()
    theirs, ours = turns(one_after_the_other, group.epoch, repeats=repeats)
    steps = 1000 / (clips / BATCH)
    return Ratio(
        name=f"{members} x {name}",
        value=theirs / ours,
        target=target,
        came_from=f"one after the other {theirs * steps:.2f} ms, stacked {ours * steps:.2f} ms "
        f"of CPU a step of all, {_text(group)}",
    )


def _settings(members: int) -> list[tuple[float, float]]:
    """Return the learning rate and weight decay of each member."""
    rates, decays = np.geomspace(1e-4, 1e-2, members), np.geomspace(1e-6, 1e-3, members)
    return [(float(lr), float(decay)) for lr, decay in zip(rates, decays, strict=True)]


def _plain(shape: Shape, lr: float, decay: float) -> heads.Trainer:
    classes = len(CLASSES)
    if shape.cell:
        head: nn.Module = heads.Recurrent(shape.cell, shape.features, shape.hidden, classes)
    else:
        head = heads.connected([shape.features, *shape.layers, classes])
    return heads.Trainer(head, lr=lr, weight_decay=decay)


def _text(group: Group) -> str:
    if not isinstance(group, Stack):
        return "calibrated to one after the other"
    return f"calibrated to {group.measured_width()} at a time"


def _fits(shape: Shape, frames: Tensor, labels: Array, members: int) -> list[Fit]:
    def batches(rows: Array, _: np.random.Generator | None) -> list[Tensor]:
        return [frames[torch.from_numpy(rows)]]

    return [
        Fit(
            network=_network(shape, frames),
            batches=batches,
            labels=labels,
            rows=np.arange(len(frames)),
            config=OptimizerConfig(
                name="adam", lr=lr, weight_decay=decay, batch_clips=BATCH, schedule="constant"
            ),
            seed=seed,
            order=0,
            data="features",
        )
        for seed, (lr, decay) in enumerate(_settings(members))
    ]


def _network(shape: Shape, frames: Tensor) -> Network:
    """Make the network of a config.

    No config has layers of unequal widths, so these are put into the network afterwards.
    """
    stream = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5)
    cell = RecurrentConfig(cell=shape.cell, hidden=shape.hidden) if shape.cell else None
    layers = shape.layers
    equal = len(set(layers)) == 1
    head = HeadConfig(fc_layers=len(layers), fc_width=layers[0]) if equal else HeadConfig()
    config = Config(streams=(stream,), recurrent=cell, head=head)
    network = Network(config, [StreamInput(frames[:1], nn.ModuleList())], CLASSES)
    if layers and not equal:
        shared = network.shared
        read = pairwise((shape.features, *layers))
        parts = [part for before, after in read for part in fc_layers(before, 1, after, 0.0)]
        shared.fc = nn.Sequential(*parts)
        shared.classifier = classifier(layers[-1], CLASSES, dropout=0.0, two_heads=False)
    return network
