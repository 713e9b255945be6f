"""Dropout whose random numbers belong to one network, not to the whole process.

Each network draws from a generator of its own, so it trains the same alone and beside others; with
torch's dropout all networks draw from one generator. The method is that of Srivastava et al. 2014,
https://jmlr.org/papers/v15/srivastava14a.html, with the kept values scaled up in training. Heads,
readers and recurrent cells use it, and `fer_core.training.stacking` draws the same numbers.
"""

import numpy as np
import torch
from torch import Tensor, nn

_STEPS = 2**16  # random numbers have 16 bits: a rate is met to 1/65536


class Dropout(nn.Module):
    """Set each value to zero with probability `p` in training, and do nothing in evaluation."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator = np.random.SFC64(0)  # `seed` replaces it in all layers of a network

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * (kept(self.generator, x.shape, self.p).to(x.device).float() * factor(self.p))


def seed(network: nn.Module, number: int) -> None:
    """Make all dropout layers of a network draw from one new generator with this seed."""
    generator = np.random.SFC64(number)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator


def kept(generator: np.random.SFC64, shape: torch.Size, rate: float) -> Tensor:
    """Draw which values are kept, as bools: a quarter of the bytes to copy to a GPU."""
    count = shape.numel()
    raw = generator.random_raw(-(-count // 4)).view(np.uint16)[:count]  # four numbers a draw
    return torch.from_numpy(raw >= round(rate * _STEPS)).view(shape)


def factor(rate: float) -> float:
    """Give what kept values are multiplied by, in single precision."""
    return float(torch.ones(()).div_(1 - rate))
