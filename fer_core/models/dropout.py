"""Dropout that a network draws for itself, the same whoever trains beside it.

Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, scaled in training. Torch's
own draws from one generator for all; here each network has one, whose numbers come in 16 bits,
four at a time, so that a rate is met to 1/65536.
"""

import numpy as np
import torch
from torch import Tensor, nn

_STEPS = 2**16


class Dropout(nn.Module):
    """Zero each number with probability `p`, in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.draws = np.random.SFC64(0)  # `seed` sets it for a whole network

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * kept(self.draws, x.shape, self.p).to(x.device)


def seed(network: nn.Module, number: int) -> None:
    """Let all dropout of a network draw from one generator."""
    draws = np.random.SFC64(number)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.draws = draws


def kept(draws: np.random.SFC64, shape: torch.Size, rate: float) -> Tensor:
    """Draw what numbers are multiplied by: 0 or 1 / (1 - rate)."""
    count = shape.numel()
    raw = draws.random_raw(-(-count // 4)).view(np.uint16)[:count]
    return torch.from_numpy(raw >= round(rate * _STEPS)).view(shape).float().div_(1 - rate)
