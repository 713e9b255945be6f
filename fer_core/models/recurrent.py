"""Layers that read the frames of a clip as a sequence: recurrent cells, and attention over frames.

`fer_core.models.network` puts one of them between the features of the frames and the FC layers.
Sources: Elman 1990 (rnn); Hochreiter and Schmidhuber 1997 (lstm), https://doi.org/10.1162/neco.1997.9.8.1735;
Cho et al. 2014 (gru), https://arxiv.org/abs/1406.1078; Shi et al. 2015 (convlstm),
https://arxiv.org/abs/1506.04214, here without peephole connections; Meng et al. 2019 (attention),
https://arxiv.org/abs/1907.00193, here their self-attention.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fer_core.errors import ConfigError, unknown
from fer_core.models.dropout import Dropout

CELLS: Mapping[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "rnn": nn.RNN,
}
KERNEL = 3  # side of the ConvLSTM's convolutions; Shi et al. 2015, section 4.1


class Recurrent(nn.Module):
    """Read frame features (B, T, D) and clip lengths (B,), and give each clip's last state (B, H).

    A bidirectional cell gives the last states of both directions side by side, so H is twice
    `hidden`; each direction has then read the whole clip.

    Raises: ConfigError for an unknown cell.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        cell: str,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(unknown("recurrent cell", cell, CELLS))
        self.cell = CELLS[cell](
            feature_dim,
            hidden,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.feature_dim = hidden * (1 + bidirectional)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        whole = unpadded(lengths, frames)
        sequence = frames if whole else _packed(frames, lengths)  # packing takes time
        ends = self.cell(sequence)[1]  # (layers x directions, B, hidden)
        last: Tensor = ends[0] if isinstance(ends, tuple) else ends  # an LSTM adds its cells' state
        directions = 1 + self.cell.bidirectional
        return last[-directions:].transpose(0, 1).flatten(1)


def _packed(frames: Tensor, lengths: Tensor) -> PackedSequence:
    return pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)


class ConvLSTM(nn.Module):
    """Read maps (B, T, C, H, W) and clip lengths (B,), and give the last states (B, C', H, W).

    It is an LSTM whose products are convolutions, so that its states are maps too. C' is `hidden`.
    """

    def __init__(
        self, channels: int, *, hidden: int, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = [channels, *[hidden] * layers]
        self.gates = nn.ModuleList(
            nn.Conv2d(size + hidden, 4 * hidden, KERNEL, padding=KERNEL // 2) for size in sizes[:-1]
        )
        self.dropout = Dropout(dropout)

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        for i, gates in enumerate(self.gates):
            maps = _unrolled(gates, maps if i == 0 else self.dropout(maps))
        if unpadded(lengths, maps):
            return maps[:, -1]
        return maps[torch.arange(len(maps), device=maps.device), lengths.to(maps.device) - 1]


class Attention(nn.Module):
    """Weigh the frames of a clip and average them: (B, T, D) and clip lengths (B,) to (B, D).

    The weight of a frame is learned from its features.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(feature_dim, 1)
        self.feature_dim = feature_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        weights = torch.sigmoid(self.weigh(frames)) * within(lengths, frames)[..., None]
        return (weights * frames).sum(dim=1) / weights.sum(dim=1)


def unpadded(lengths: Tensor, frames: Tensor) -> bool:
    """Whether all clips have as many frames as the batch (B, T, ...); unknown without values."""
    return not lengths.is_meta and int(lengths.min()) == frames.shape[1]


def within(lengths: Tensor, frames: Tensor) -> Tensor:
    """Return which of the frames (B, T, ...) belong to their clip and are not padding, (B, T)."""
    if unpadded(lengths, frames):  # then nothing is copied to a GPU
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    steps = torch.arange(frames.shape[1], device=frames.device)
    return steps[None] < lengths.to(frames.device)[:, None]


def _unrolled(gates: nn.Module, maps: Tensor) -> Tensor:
    """Run one ConvLSTM layer over the maps (B, T, C, H, W), to its states (B, T, C', H, W)."""
    state = cell = None
    states = []
    for frame in maps.unbind(dim=1):
        if state is None:
            hidden = next(gates.parameters()).shape[0] // 4
            state = cell = frame.new_zeros(len(frame), hidden, *frame.shape[2:])
        forget, add, output, new = gates(torch.cat([frame, state], dim=1)).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + add.sigmoid() * new.tanh()
        state = output.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states, dim=1)
