"""Optimisers, and how the learning rate goes on."""

import math

import torch
from torch import optim
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from fer_core.config import OptimizerConfig
from fer_core.models.network import Network

MOMENTUM = 0.9
PLATEAU_EPOCHS, PLATEAU_FACTOR = 3, 0.3  # a rate that no longer helps for so long is lowered so


def build(network: Network, config: OptimizerConfig) -> optim.Optimizer:
    """Make the optimiser that a config names; unfrozen blocks have a rate of their own."""
    slow = {id(p) for p in network.unfrozen()}
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in slow], "lr": config.lr},
        {"params": [p for p in trained if id(p) in slow], "lr": config.lr * config.backbone_lr},
    ]
    groups = [group for group in groups if group["params"]]
    lr, decay = config.lr, config.weight_decay
    match config.name:
        case "sgd":
            return optim.SGD(groups, lr, momentum=MOMENTUM, weight_decay=decay, fused=True)
        case "adam":
            return optim.Adam(groups, lr, weight_decay=decay, fused=True)
        case _:
            return optim.AdamW(groups, lr, weight_decay=decay, fused=True)


class Schedule:
    """The learning rate over the steps of a training."""

    def __init__(self, optimizer: optim.Optimizer, config: OptimizerConfig, steps: int) -> None:
        self._by_step = cosine(optimizer, steps) if config.schedule == "cosine" else None
        self._by_loss = (
            ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS)
            if config.schedule == "plateau"
            else None
        )

    def step(self) -> None:
        """Go on after a batch."""
        if self._by_step is not None:
            self._by_step.step()

    def epoch(self, loss: float) -> None:
        """Go on after an epoch, whose loss this is."""
        if self._by_loss is not None:
            self._by_loss.step(loss)


def cosine(optimizer: optim.Optimizer, steps: int) -> LambdaLR:
    """Lower the rate along half a cosine to zero, without restarts.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1, step / steps))))


def mixed(device: torch.device, *, wanted: bool) -> torch.autocast:
    """Compute in bfloat16 where that was asked for and the device has it, else as ever.

    On a CPU it is not used: without the instructions for it it is slower than single precision.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and able)


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weigh each class (K,) by how rare it is, so that all count the same; 0 where there is none.

    The mean over the labels is 1.
    """
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1).float())
    return weights * (counts > 0)
