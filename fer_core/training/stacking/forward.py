"""Networks of one shape as one: each keeps its own weights, and all go through the same calls.

Tensors have the members in front: (M, B, T, D) in, (M, B, T, K) or (M, B, K) out. A layer of M
members is one batched product. What a member computes depends on who is beside it in last bits
only, since processors round the tail of a long row otherwise.
The idea is that of Wang et al. 2021 (HFTA), https://arxiv.org/abs/2102.02344, without its need
for grouped convolutions; recurrent cells, which `torch.func.vmap` cannot batch, are included.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.models.dropout import Dropout, kept
from fer_core.models.fusion import fuse
from fer_core.models.head import TwoHeads
from fer_core.models.network import Branch, Network
from fer_core.models.recurrent import Attention, Recurrent
from fer_core.models.stream_readers import GeometryReader
from fer_core.training.stacking.cells import linear, unrolled

Values = Mapping[str, Tensor]  # name of a parameter: (M, *shape)
Drop = Callable[[str, Tensor], Tensor]  # by the name of a layer


class Masks:
    """The dropout of members, each of which draws for itself."""

    def __init__(self, rates: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> None:
        self._rates = rates  # name of a layer: of each member
        self._draws = [np.random.SFC64(seed) for seed in seeds]

    def of(self, members: Sequence[int], rows: Sequence[int]) -> Drop:
        """Give the dropout of a batch in which `members` have so many rows; others are padding."""

        def drop(name: str, x: Tensor) -> Tensor:
            rates = [self._rates[name][member] for member in members]
            if not any(rates):
                return x
            mask = torch.ones(x.shape)
            for i, (member, rate) in enumerate(zip(members, rates, strict=True)):
                if rate:
                    inside = mask[i, : rows[i]]
                    inside.copy_(kept(self._draws[member], inside.shape, rate))
            return x * mask.to(x.device)

        return drop


def stacked(networks: Sequence[Network]) -> dict[str, Tensor]:
    """Copy the parameters of networks of one shape into one tensor each, (M, *shape)."""
    states = [dict(network.named_parameters()) for network in networks]
    return {
        name: torch.stack([state[name].detach() for state in states]).contiguous()
        for name in states[0]
    }


def rates(networks: Sequence[Network]) -> dict[str, list[float]]:
    """Give the dropout rates of each layer that drops."""
    named = [dict(network.named_modules()) for network in networks]
    return {
        name: [each[name].p for each in named]
        for name, module in named[0].items()
        if isinstance(module, Dropout)
    }


def logits(like: Network, values: Values, given: Sequence[Tensor], drop: Drop) -> Tensor:
    """Run what is given of each stream, (M, B, T, D) or (M, B, D), as networks like `like`."""
    streams = []
    for i, (way, x) in enumerate(zip(like.ways, given, strict=True)):
        reader = like.readers[i]
        assert isinstance(way, Branch)
        if isinstance(reader, GeometryReader):  # features of images are read as they are
            x = _through(f"readers.{i}.layers", reader.layers, values, x, drop)
        streams.append(_way(f"ways.{i}", way, values, x, drop))
    fused = streams[0] if len(streams) == 1 else fuse(streams, like.fusion)
    return _way("shared", like.shared, values, fused, drop)


def _way(name: str, way: Branch, values: Values, x: Tensor, drop: Drop) -> Tensor:
    if way.cell is not None and x.ndim == 4:
        x = _over_time(f"{name}.cell", way.cell, values, x)
    x = _through(f"{name}.fc", way.fc, values, x, drop)
    if way.classifier is None:
        return x
    return _through(f"{name}.classifier", way.classifier, values, x, drop)


def _through(name: str, layers: nn.Module, values: Values, x: Tensor, drop: Drop) -> Tensor:
    for place, layer in layers.named_children():
        here = f"{name}.{place}"
        if isinstance(layer, Dropout):
            x = drop(here, x)
        elif isinstance(layer, nn.ReLU):
            x = x.relu()
        elif isinstance(layer, TwoHeads):
            x = _two_heads(here, layer, values, x)
        else:
            assert isinstance(layer, nn.Linear), f"{here}: a {type(layer).__name__} does not stack"
            x = _linear(here, values, x)
    return x


def _linear(name: str, values: Values, x: Tensor) -> Tensor:
    """Map (M, B, ..., D) to (M, B, ..., H) by weights (M, H, D) and biases (M, H)."""
    weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
    return linear(x.flatten(1, -2), weight, bias).view(*x.shape[:-1], -1)


def _two_heads(name: str, heads: TwoHeads, values: Values, x: Tensor) -> Tensor:
    emotion = torch.log_softmax(_linear(f"{name}.emotion", values, x), dim=-1)
    authenticity = torch.log_softmax(_linear(f"{name}.authenticity", values, x), dim=-1)
    return emotion[..., heads.emotions] + authenticity[..., heads.kinds]


def _over_time(name: str, cell: nn.Module, values: Values, x: Tensor) -> Tensor:
    """Read the frames of clips that are all equally long: (M, B, T, D) to (M, B, H)."""
    if isinstance(cell, Attention):
        weights = torch.sigmoid(_linear(f"{name}.weigh", values, x))
        return (weights * x).sum(dim=2) / weights.sum(dim=2)
    assert isinstance(cell, Recurrent)
    ends: list[Tensor] = []
    for layer in range(cell.cell.num_layers):
        ways, ends = [], []
        for suffix in ("", "_reverse") if cell.cell.bidirectional else ("",):
            here = f"{name}.cell.{{}}_{{}}_l{layer}{suffix}"
            kinds = product(("weight", "bias"), ("ih", "hh"))
            states = unrolled(
                cell.cell.mode,
                x.flip(2) if suffix else x,
                *(values[here.format(kind, of)] for kind, of in kinds),
            )
            ends.append(states[:, :, -1])
            ways.append(states.flip(2) if suffix else states)
        x = torch.cat(ways, dim=-1)
    return torch.cat(ends, dim=-1)
