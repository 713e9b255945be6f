"""Optimisers and the learning-rate schedule."""

import math
from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR

from fer_core.config import OptimizerConfig

MOMENTUM = 0.9


def build(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> optim.Optimizer:
    """Make the optimiser that a config names, over the parameters that need a gradient."""
    trained = [p for p in parameters if p.requires_grad]
    lr, decay = config.lr, config.weight_decay
    match config.name:
        case "sgd":
            return optim.SGD(trained, lr, momentum=MOMENTUM, weight_decay=decay)
        case "adam":
            return optim.Adam(trained, lr, weight_decay=decay, fused=True)
        case _:
            return optim.AdamW(trained, lr, weight_decay=decay, fused=True)


def cosine(optimizer: optim.Optimizer, steps: int) -> LambdaLR:
    """Lower the rate along half a cosine to zero, without restarts.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1, step / steps))))
