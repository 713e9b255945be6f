"""Baseline: the convolutions of VGG-16 with random weights.

The fully connected layers are left out, since a pooled model does not use them. The baselines of
images and fine-tuning build on it.
"""

from torch import nn

BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
ENDS = (5, 10, 17, 24, 31)  # index in `vgg16` after the last layer of each block, its max pool


def vgg16() -> nn.Sequential:
    """Make layers that map images (B, 3, S, S) to feature maps (B, 512, S / 32, S / 32)."""
    layers: list[nn.Module] = []
    channels = 3
    for block in BLOCKS:
        for size in block:
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU(inplace=True)]
            channels = size
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
