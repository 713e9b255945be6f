"""VGG-16's convolutions with random weights, without what a pooled model leaves out."""

from torch import nn

BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
ENDS = (5, 10, 17, 24, 31)  # where a block ends in `vgg16`, its max pool included


def vgg16() -> nn.Sequential:
    """Images (B, 3, S, S) to maps (B, 512, S / 32, S / 32)."""
    layers: list[nn.Module] = []
    channels = 3
    for block in BLOCKS:
        for size in block:
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU(inplace=True)]
            channels = size
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
