"""Recurrent cell over the features of a clip's frames, read out at its last frame.

Elman 1990 (rnn); Hochreiter and Schmidhuber 1997 (lstm), https://doi.org/10.1162/neco.1997.9.8.1735;
Cho et al. 2014 (gru), https://arxiv.org/abs/1406.1078.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fer_core.errors import ConfigError, unknown

CELLS: Mapping[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "rnn": nn.RNN,
}


class Recurrent(nn.Module):
    """Frame features (B, T, D) and clip lengths (B,) to the last state of each clip, (B, H).

    Raises: ConfigError for an unknown cell.
    """

    def __init__(self, feature_dim: int, *, cell: str, hidden: int, layers: int = 1) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(unknown("recurrent cell", cell, CELLS))
        self.cell = CELLS[cell](feature_dim, hidden, layers, batch_first=True)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        states: Tensor = self.cell(frames)[0]  # (B, T, H); no state sees what comes after it
        clips = torch.arange(len(states), device=states.device)
        return states[clips, lengths.to(states.device) - 1]
