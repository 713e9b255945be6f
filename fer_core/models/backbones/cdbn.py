"""CDBN: two convolutional restricted Boltzmann machines, each pooled by its own probabilities.

Lee et al. 2009, https://doi.org/10.1145/1553374.1553453, whose 24 and 100 filters of 10x10 these
are; for expressions Ranganathan et al. 2016, https://doi.org/10.1109/WACV.2016.7477679. Unlike Lee
et al. it reads local contrast instead of whitened pixels, takes Adam's steps, so that one range of
learning rates serves all layers, and lets the hidden biases begin at the sparsity that they are
pushed to. A fitted block is an ordinary, differentiable layer.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones.backbone import Backbone, scaled
from fer_core.models.backbones.unsupervised import Curves, fit_greedily, unfitted

FILTERS = (24, 100)  # Lee et al. 2009, section 4.1
KERNEL = 10  # ibid.
POOL = 2  # side of a block of hidden units, of which one at most is on; ibid.
FIRST_DEVIATION = 0.01  # of the weights; Hinton 2010, section 8
MOMENTA = (0.5, 0.9)  # in the first epoch, and later; ibid., section 9
BIAS_PACE = 5.0  # of the biases' learning rate: each has to balance hundreds of weights
WEIGHT_DECAY = 0.01
SPARSITY_PUSH = 5.0  # plambda of Lee's own code, https://github.com/honglaklee/convDBN
LEAST_OFF = 0.05  # probability, at the start, that all units of a block are off
LEAST_MEAN = 0.01  # of binary units, at the start


class RBM(nn.Module):
    """Units (B, C, H, W), real or binary, under hidden ones that are pooled to (B, K, H', W').

    In each 2x2 block of a hidden map one unit at most is on; a last row or column that fills no
    block is left out, with the visible units that only it sees. Real units have unit variance.
    """

    visible_bias: Tensor  # no parameter: a label cannot train it

    def __init__(self, channels: int, filters: int, *, real: bool) -> None:
        super().__init__()
        self.real = real
        self.convolution = nn.Conv2d(channels, filters, KERNEL, bias=False)
        self.hidden_bias = nn.Parameter(torch.zeros(filters, 1, 1))
        self.register_buffer("visible_bias", torch.zeros(channels, 1, 1))

    def forward(self, visible: Tensor) -> Tensor:
        """Give the probability that a block has a unit on."""
        return self._inputs(visible).logsumexp(dim=2).sigmoid()

    def hidden(self, visible: Tensor) -> Tensor:
        """Give the probabilities of hidden units, (B, K, 4, H', W') by block."""
        inputs = self._inputs(visible)
        return inputs.softmax(dim=2) * inputs.logsumexp(dim=2, keepdim=True).sigmoid()

    def reconstruct(self, hidden: Tensor) -> Tensor:
        """Give the means of the visible units under hidden ones (B, K, 4, H', W')."""
        maps = functional.pixel_shuffle(hidden.flatten(1, 2), POOL)
        inputs = functional.conv_transpose2d(maps, self.convolution.weight) + self.visible_bias
        return inputs if self.real else inputs.sigmoid()

    def free_energy(self, visible: Tensor) -> Tensor:
        """Give -log of the unnormalised probability of visible units, (B,), hidden summed out."""
        seen = self.seen(visible)
        blocks = functional.softplus(self._inputs(visible).logsumexp(dim=2))
        energy = -blocks.sum(dim=(1, 2, 3)) - (self.visible_bias * seen).sum(dim=(1, 2, 3))
        return energy + seen.square().sum(dim=(1, 2, 3)) / 2 if self.real else energy

    def seen(self, visible: Tensor) -> Tensor:
        """Leave out the last rows and columns that no whole block sees."""
        height, width = (side - (side - KERNEL + 1) % POOL for side in visible.shape[2:])
        return visible[:, :, :height, :width]

    def _inputs(self, visible: Tensor) -> Tensor:
        maps = self.convolution(self.seen(visible)) + self.hidden_bias
        blocks = functional.pixel_unshuffle(maps, POOL)
        return blocks.view(len(blocks), -1, POOL**2, *blocks.shape[2:])


def build(stream: StreamConfig, _file: Path | None, generator: torch.Generator) -> Backbone:
    """Build the first blocks with random weights."""
    blocks, channels = nn.ModuleList(), 1
    for depth, filters in enumerate(FILTERS[: stream.blocks]):
        filters = scaled(filters, stream.width)
        blocks.append(RBM(channels, filters, real=depth == 0))
        channels = filters
    return unfitted(stream, blocks, generator)


def fit(blocks: nn.ModuleList, images: Tensor, pretrain: PretrainConfig, seed: int) -> Curves:
    """Fit blocks in place to preprocessed images (N, 1, H, W), which are on the blocks' device.

    Their weights are drawn anew, smaller than `build` draws them.
    """
    return fit_greedily(blocks, images, pretrain, seed, _Divergence)


class _Divergence:
    """What fits one machine by contrastive divergence, of one step of Gibbs sampling.

    Hinton 2002, https://doi.org/10.1162/089976602760128018: its gradient is that of the free energy
    of what was seen, less that of what it was reconstructed to.
    """

    def __init__(
        self, rbm: nn.Module, maps: Tensor, pretrain: PretrainConfig, generator: torch.Generator
    ) -> None:
        assert isinstance(rbm, RBM)
        self.rbm, self.sparsity, self.generator = rbm, pretrain.sparsity, generator
        _start(rbm, maps, pretrain.sparsity, generator)
        biases = [rbm.hidden_bias, rbm.visible_bias.requires_grad_()]
        weight = {"params": [rbm.convolution.weight], "weight_decay": WEIGHT_DECAY}
        groups = [weight, {"params": biases, "weight_decay": 0.0, "lr": BIAS_PACE * pretrain.lr}]
        self.optimizer = torch.optim.AdamW(groups, pretrain.lr)

    def step(self, maps: Tensor, epoch: int) -> dict[str, Tensor]:
        rbm, seen = self.rbm, self.rbm.seen(maps)
        with torch.no_grad():
            hidden = rbm.hidden(seen)
            given = rbm.reconstruct(sample(hidden, self.generator))
            shuffled = rbm.free_energy(_shuffled(seen, self.generator))
        energy, active = rbm.free_energy(seen), hidden.mean(dim=(0, 2, 3, 4))
        loss = (energy - rbm.free_energy(given)).mean() / hidden[0, 0].numel()
        push = SPARSITY_PUSH * (active - self.sparsity) * rbm.hidden_bias.flatten()
        self.optimizer.zero_grad()
        (loss + push.sum()).backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["betas"] = (MOMENTA[epoch > 0], 0.999)
        self.optimizer.step()
        return {
            "reconstruction_error": functional.mse_loss(given, seen),
            "free_energy_gap": (energy.detach() - shuffled).mean() / seen[0].numel(),
            "activation": active.mean(),
        }

    def finish(self, _batches: Iterable[Tensor]) -> None:
        self.optimizer.zero_grad()
        self.rbm.visible_bias.requires_grad_(False)


@torch.no_grad()
def _start(rbm: RBM, maps: Tensor, sparsity: float, generator: torch.Generator) -> None:
    """Begin with small weights, and biases by which units without any would be on so often."""
    weight = rbm.convolution.weight
    weight.copy_(FIRST_DEVIATION * torch.randn(weight.shape, generator=generator))
    rbm.hidden_bias.fill_(math.log(sparsity / max(1 - POOL**2 * sparsity, LEAST_OFF)))
    means = maps.mean(dim=(0, 2, 3), keepdim=True)[0]
    rbm.visible_bias.copy_(means if rbm.real else means.logit(eps=LEAST_MEAN))


def sample(hidden: Tensor, generator: torch.Generator) -> Tensor:
    """Draw hidden units (B, K, 4, H', W'): in each block one by its probability, or none."""
    draws = torch.rand(hidden[:, :, :1].shape, generator=generator).to(hidden.device)
    upto = (draws < hidden.cumsum(dim=2)).to(hidden.dtype)
    return upto.diff(dim=2, prepend=torch.zeros_like(draws))


def _shuffled(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle the positions of maps: only what sees their arrangement can tell them from others."""
    order = torch.randperm(maps[0, 0].numel(), generator=generator).to(maps.device)
    return maps.flatten(2)[:, :, order].view_as(maps)
