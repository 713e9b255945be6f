"""Compute the logits of several networks of one shape, each with its own weights, in shared calls.

Tensors have an axis for the members in front: inputs are (M, B, T, D), logits (M, B, T, K) or
(M, B, K). The same layer of M members is one batched product. The other members change a member's
results in the last bits only, since processors round the end of a long row in another way. The
idea is that of Wang et al. 2021 (HFTA), https://arxiv.org/abs/2102.02344, here without grouped
convolutions, and with recurrent cells, which `torch.func.vmap` cannot batch. `stack` uses it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.models.dropout import Dropout, factor, kept
from fer_core.models.fusion import fuse
from fer_core.models.head import TwoHeads
from fer_core.models.network import BRANCHES, Branch, Network
from fer_core.models.recurrent import Attention, Recurrent
from fer_core.models.stream_readers import GeometryReader
from fer_core.training.stacking.cells import linear, unrolled

Values = Mapping[str, Tensor]  # from the name of a parameter to its stacked values (M, *shape)
Drop = Callable[[str, Tensor], Tensor]  # dropout: from a layer's name and its input to its output


class DropoutMasks:
    """Draw the dropout of all members, each from a generator of its own."""

    def __init__(self, rates: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> None:
        self._rates = rates  # for each layer name, the rates of all members
        self._generators = [np.random.SFC64(seed) for seed in seeds]
        self._known: dict[tuple[tuple[float, ...], torch.device], Tensor] = {}

    def for_batch(self, members: Sequence[int], rows: Sequence[int]) -> Drop:
        """Return the dropout of one batch of these members.

        `rows` is how many rows of the batch each member has; the rest is padding, for which
        nothing is drawn.
        """

        def drop(name: str, x: Tensor) -> Tensor:
            rates = [self._rates[name][member] for member in members]
            if not any(rates):
                return x
            mask = torch.ones(x.shape, dtype=torch.bool)
            for i, (member, rate) in enumerate(zip(members, rates, strict=True)):
                if rate:
                    inside = mask[i, : rows[i]]
                    inside.copy_(kept(self._generators[member], inside.shape, rate))
            factors = self._factors(tuple(rates), x)
            return x * (mask.to(x.device).float() * factors)

        return drop

    def _factors(self, rates: tuple[float, ...], x: Tensor) -> Tensor:
        """Give what the kept values of each member are multiplied by, in the shape of `x`."""
        key = rates, x.device
        if key not in self._known:
            self._known[key] = torch.tensor([factor(rate) for rate in rates], device=x.device)
        return self._known[key].view(-1, *[1] * (x.ndim - 1))


def stacked_parameters(networks: Sequence[Network]) -> dict[str, Tensor]:
    """Copy each parameter of M networks of one shape into one tensor (M, *shape)."""
    states = [dict(network.named_parameters()) for network in networks]
    return {
        name: torch.stack([state[name].detach() for state in states]).contiguous()
        for name in states[0]
    }


def dropout_rates(networks: Sequence[Network]) -> dict[str, list[float]]:
    """Return, for each dropout layer by its name, the rates of the networks."""
    modules = [dict(network.named_modules()) for network in networks]
    return {
        name: [each[name].p for each in modules]
        for name, module in modules[0].items()
        if isinstance(module, Dropout)
    }


def logits(like: Network, values: Values, inputs: Sequence[Tensor], drop: Drop) -> Tensor:
    """Compute the logits of members that are built like the network `like`.

    `values` are the members' parameters, and `inputs` has a tensor (M, B, T, D) or (M, B, D) for
    each stream. `like` only says which layers there are.
    """
    streams = []
    for i, (branch, x) in enumerate(zip(like.branches, inputs, strict=True)):
        reader = like.readers[i]
        assert isinstance(branch, Branch)
        if isinstance(reader, GeometryReader):  # stored features of images need no reader
            x = _layers(f"readers.{i}.layers", reader.layers, values, x, drop)
        streams.append(_branch(f"{BRANCHES}.{i}", branch, values, x, drop))
    fused = streams[0] if len(streams) == 1 else fuse(streams, like.fusion)
    return _branch("shared", like.shared, values, fused, drop)


def _branch(name: str, branch: Branch, values: Values, x: Tensor, drop: Drop) -> Tensor:
    if branch.cell is not None and x.ndim == 4:
        x = _over_time(f"{name}.cell", branch.cell, values, x)
    x = _layers(f"{name}.fc", branch.fc, values, x, drop)
    if branch.classifier is None:
        return x
    return _layers(f"{name}.classifier", branch.classifier, values, x, drop)


def _layers(name: str, layers: nn.Module, values: Values, x: Tensor, drop: Drop) -> Tensor:
    for key, layer in layers.named_children():
        path = f"{name}.{key}"
        if isinstance(layer, Dropout):
            x = drop(path, x)
        elif isinstance(layer, nn.ReLU):
            x = x.relu()
        elif isinstance(layer, TwoHeads):
            x = _two_heads(path, layer, values, x)
        else:
            kind = type(layer).__name__
            assert isinstance(layer, nn.Linear), f"{path}: a layer {kind} cannot be stacked"
            x = _linear(path, values, x)
    return x


def _linear(name: str, values: Values, x: Tensor) -> Tensor:
    """Apply the linear layers of this name: (M, B, ..., D) to (M, B, ..., H)."""
    weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
    return linear(x.flatten(1, -2), weight, bias).view(*x.shape[:-1], -1)


def _two_heads(name: str, heads: TwoHeads, values: Values, x: Tensor) -> Tensor:
    emotion = torch.log_softmax(_linear(f"{name}.emotion", values, x), dim=-1)
    authenticity = torch.log_softmax(_linear(f"{name}.authenticity", values, x), dim=-1)
    return emotion[..., heads.emotions] + authenticity[..., heads.kinds]


def _over_time(name: str, cell: nn.Module, values: Values, x: Tensor) -> Tensor:
    """Apply the cells or attentions of this name to clips of equal length.

    Frames (M, B, T, D) become (M, B, H).
    """
    if isinstance(cell, Attention):
        weights = torch.sigmoid(_linear(f"{name}.weigh", values, x))
        return (weights * x).sum(dim=2) / weights.sum(dim=2)
    assert isinstance(cell, Recurrent)
    ends: list[Tensor] = []
    for layer in range(cell.cell.num_layers):
        directions, ends = [], []
        for suffix in ("", "_reverse") if cell.cell.bidirectional else ("",):
            pairs = product(("weight", "bias"), ("ih", "hh"))  # ih reads the input, hh the state
            names = [f"{name}.cell.{kind}_{reads}_l{layer}{suffix}" for kind, reads in pairs]
            states = unrolled(
                cell.cell.mode,
                x.flip(2) if suffix else x,
                *(values[each] for each in names),
            )
            ends.append(states[:, :, -1])
            directions.append(states.flip(2) if suffix else states)
        x = torch.cat(directions, dim=-1)
    return torch.cat(ends, dim=-1)
