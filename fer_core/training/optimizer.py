"""Build torch's optimiser, learning-rate schedule and class weights from an `OptimizerConfig`.

`loop` uses them to train one network. `stacking.optimizers` does the same for several networks at
once, with the constants given here.
"""

import math

import torch
from torch import optim
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from fer_core.config import OptimizerConfig
from fer_core.models.network import Network

MOMENTUM = 0.9
PLATEAU_EPOCHS, PLATEAU_FACTOR = 3, 0.3  # after 3 epochs without a lower loss, rate x 0.3


def build(network: Network, config: OptimizerConfig) -> optim.Optimizer:
    """Build the optimiser that a config names; unfrozen backbone blocks have their own rate."""
    backbone = {id(p) for p in network.unfrozen()}
    trained = [p for p in network.parameters() if p.requires_grad]
    backbone_lr = config.lr * config.backbone_lr
    groups = [
        {"params": [p for p in trained if id(p) not in backbone], "lr": config.lr},
        {"params": [p for p in trained if id(p) in backbone], "lr": backbone_lr},
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
    """Change the learning rate over a training of `steps` steps, as a config asks."""

    def __init__(self, optimizer: optim.Optimizer, config: OptimizerConfig, steps: int) -> None:
        # Checkpoints contain the names of these two attributes.
        self._by_step = cosine(optimizer, steps) if config.schedule == "cosine" else None
        self._by_loss = (
            ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS)
            if config.schedule == "plateau"
            else None
        )

    def restart(self, optimizer: optim.Optimizer, steps: int) -> None:
        """Begin another `steps` steps; a cosine begins at the full rate again."""
        if self._by_step is not None:
            self._by_step = cosine(optimizer, steps)

    def step(self) -> None:
        """Count a step, which is the training on one batch."""
        if self._by_step is not None:
            self._by_step.step()

    def epoch(self, loss: float) -> None:
        """Count an epoch and note its loss, which a plateau schedule watches."""
        if self._by_loss is not None:
            self._by_loss.step(loss)


def cosine(optimizer: optim.Optimizer, steps: int) -> LambdaLR:
    """Lower the rate to zero along half a cosine over `steps` steps.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1, step / steps))))


def mixed(device: torch.device, *, wanted: bool) -> torch.autocast:
    """Compute in bfloat16 where that is wanted and the GPU supports it, else in single precision.

    On a CPU it is never used: most CPUs have no instructions for it, and are slower with it.
    """
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and supported)


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weigh each class (K,) by its rarity, so that all classes count equally in the loss.

    The mean weight over the labels is 1. A class without labels has weight 0.
    """
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1).float())
    return weights * (counts > 0)
