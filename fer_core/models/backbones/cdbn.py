"""CDBN: a convolutional deep belief network of two blocks, fitted to images without labels.

A block is a convolutional restricted Boltzmann machine (RBM) with probabilistic max-pooling, by Lee
et al. 2009, https://doi.org/10.1145/1553374.1553453, with their 24 and 100 filters of 10x10. For
expressions: Ranganathan et al. 2016, https://doi.org/10.1109/WACV.2016.7477679. Unlike Lee et al.,
it reads local contrast instead of whitened pixels; it is fitted by Adam, so that one range of
learning rates suits all blocks; and hidden biases start at their target sparsity. A fitted block is
an ordinary, differentiable layer.
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
POOL = 2  # side of a pooling window, in which at most one hidden unit is on; ibid.
FIRST_DEVIATION = 0.01  # standard deviation of the first weights; Hinton 2010, section 8
MOMENTA = (0.5, 0.9)  # momentum in the first epoch, and in later ones; ibid., section 9
BIAS_LR_FACTOR = 5.0  # biases learn faster, since each has to balance hundreds of weights
WEIGHT_DECAY = 0.01
SPARSITY_PUSH = 5.0  # plambda in Lee's own code, https://github.com/honglaklee/convDBN
LEAST_OFF = 0.05  # least probability, at the start, that all units of a window are off
LEAST_MEAN = 0.01  # least mean of binary visible units, for the first visible biases


class RBM(nn.Module):
    """Model visible units (B, C, H, W), real or binary, by hidden units, pooled to (B, K, H', W').

    In each 2x2 window of a hidden map at most one unit is on. A last row or column that fills no
    window is left out, together with the visible units that only it reads. Real visible units have
    unit variance.
    """

    visible_bias: Tensor  # a buffer, not a parameter: training by labels must not change it

    def __init__(self, channels: int, filters: int, *, real: bool) -> None:
        super().__init__()
        self.real = real
        self.convolution = nn.Conv2d(channels, filters, KERNEL, bias=False)
        self.hidden_bias = nn.Parameter(torch.zeros(filters, 1, 1))
        self.register_buffer("visible_bias", torch.zeros(channels, 1, 1))

    def forward(self, visible: Tensor) -> Tensor:
        """Return the probability that a unit of each window is on, (B, K, H', W')."""
        return self._inputs(visible).logsumexp(dim=2).sigmoid()

    def hidden(self, visible: Tensor) -> Tensor:
        """Return the probabilities of the four hidden units of each window, (B, K, 4, H', W')."""
        inputs = self._inputs(visible)
        return inputs.softmax(dim=2) * inputs.logsumexp(dim=2, keepdim=True).sigmoid()

    def reconstruct(self, hidden: Tensor) -> Tensor:
        """Return the means of the visible units, given hidden units (B, K, 4, H', W')."""
        maps = functional.pixel_shuffle(hidden.flatten(1, 2), POOL)
        inputs = functional.conv_transpose2d(maps, self.convolution.weight) + self.visible_bias
        return inputs if self.real else inputs.sigmoid()

    def free_energy(self, visible: Tensor) -> Tensor:
        """Return the free energy (B,) of visible units.

        It is -log of their unnormalised probability, with the hidden units summed out.
        """
        seen = self.seen(visible)
        blocks = functional.softplus(self._inputs(visible).logsumexp(dim=2))
        energy = -blocks.sum(dim=(1, 2, 3)) - (self.visible_bias * seen).sum(dim=(1, 2, 3))
        return energy + seen.square().sum(dim=(1, 2, 3)) / 2 if self.real else energy

    def seen(self, visible: Tensor) -> Tensor:
        """Cut off the last rows and columns that no whole window reads."""
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
    """Fit blocks in place to preprocessed images (N, 1, H, W) on the same device.

    The weights that `build` drew are replaced by smaller random ones first.
    """
    return fit_greedily(blocks, images, pretrain, seed, _Divergence)


class _Divergence:
    """Fit one RBM by contrastive divergence, with one step of Gibbs sampling.

    Hinton 2002, https://doi.org/10.1162/089976602760128018. The gradient is that of the free energy
    of the visible units, minus that of their reconstruction.
    """

    def __init__(
        self, rbm: nn.Module, maps: Tensor, pretrain: PretrainConfig, generator: torch.Generator
    ) -> None:
        assert isinstance(rbm, RBM)
        self.rbm, self.sparsity, self.generator = rbm, pretrain.sparsity, generator
        _start(rbm, maps, pretrain.sparsity, generator)
        biases = [rbm.hidden_bias, rbm.visible_bias.requires_grad_()]
        weight = {"params": [rbm.convolution.weight], "weight_decay": WEIGHT_DECAY}
        groups = [
            weight,
            {"params": biases, "weight_decay": 0.0, "lr": BIAS_LR_FACTOR * pretrain.lr},
        ]
        self.optimizer = torch.optim.AdamW(groups, pretrain.lr)

    def step(self, maps: Tensor, epoch: int) -> dict[str, Tensor]:
        rbm, seen = self.rbm, self.rbm.seen(maps)
        with torch.no_grad():
            hidden = rbm.hidden(seen)
            reconstruction = rbm.reconstruct(sample(hidden, self.generator))
            shuffled = rbm.free_energy(_shuffled(seen, self.generator))
        energy, active = rbm.free_energy(seen), hidden.mean(dim=(0, 2, 3, 4))
        loss = (energy - rbm.free_energy(reconstruction)).mean() / hidden[0, 0].numel()
        push = SPARSITY_PUSH * (active - self.sparsity) * rbm.hidden_bias.flatten()
        self.optimizer.zero_grad()
        (loss + push.sum()).backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["betas"] = (MOMENTA[epoch > 0], 0.999)
        self.optimizer.step()
        return {
            "reconstruction_error": functional.mse_loss(reconstruction, seen),
            "free_energy_gap": (energy.detach() - shuffled).mean() / seen[0].numel(),
            "activation": active.mean(),
        }

    def finish(self, _batches: Iterable[Tensor]) -> None:
        self.optimizer.zero_grad()
        self.rbm.visible_bias.requires_grad_(False)


@torch.no_grad()
def _start(rbm: RBM, maps: Tensor, sparsity: float, generator: torch.Generator) -> None:
    """Draw small weights, and set biases so that the units' mean activity is right without weights.

    For the hidden units that is the target sparsity, for the visible units their mean in `maps`.
    """
    weight = rbm.convolution.weight
    weight.copy_(FIRST_DEVIATION * torch.randn(weight.shape, generator=generator))
    rbm.hidden_bias.fill_(math.log(sparsity / max(1 - POOL**2 * sparsity, LEAST_OFF)))
    means = maps.mean(dim=(0, 2, 3), keepdim=True)[0]
    rbm.visible_bias.copy_(means if rbm.real else means.logit(eps=LEAST_MEAN))


def sample(hidden: Tensor, generator: torch.Generator) -> Tensor:
    """Draw hidden units (B, K, 4, H', W') by their probabilities: one unit of a window, or none."""
    draws = torch.rand(hidden[:, :, :1].shape, generator=generator).to(hidden.device)
    below = (draws < hidden.cumsum(dim=2)).to(hidden.dtype)
    return below.diff(dim=2, prepend=torch.zeros_like(draws))


def _shuffled(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle the positions of maps, all maps alike: only their spatial arrangement is lost."""
    order = torch.randperm(maps[0, 0].numel(), generator=generator).to(maps.device)
    return maps.flatten(2)[:, :, order].view_as(maps)
