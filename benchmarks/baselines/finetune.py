"""Baseline: fine-tune the last blocks of VGG-16 from images; the first blocks are frozen.

The frozen blocks run under `no_grad` in every epoch. Row 7 of `benchmarks/search.py` measures it.
"""

import torch
from torch import Tensor, nn

from benchmarks.baselines.vgg import ENDS, vgg16

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, for pixels in 0..255


class FineTuning:
    """VGG-16 with frozen first blocks; a linear layer reads its averaged features."""

    def __init__(self, frozen_blocks: int, classes: int, *, lr: float) -> None:
        features = vgg16()
        self.frozen = features[: ENDS[frozen_blocks - 1]].eval()
        pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
        self.trained = nn.Sequential(*features[ENDS[frozen_blocks - 1] :], *pooled)
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr, fused=True)

    def epoch(self, images: Tensor, labels: Tensor, batch: int) -> None:
        """Train on images (N, S, S, 3) uint8."""
        for rows in torch.randperm(len(images)).split(batch):
            x = images[rows].float()
            x = ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2).contiguous()
            with torch.no_grad():
                x = self.frozen(x)
            loss = nn.functional.cross_entropy(self.trained(x), labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
