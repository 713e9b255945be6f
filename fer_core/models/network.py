"""The part of a model that a trial trains: unfrozen blocks, pooling, recurrent cell, head."""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from fer_core.config import Config
from fer_core.models.head import Head
from fer_core.models.pooling import pool
from fer_core.models.recurrent import Recurrent


class Network(nn.Module):
    """What was stored at the freeze point, and clip lengths (B,), to logits.

    Stored are maps (B, T, C, H, W), or preprocessed crops at depth 0, or pooled features
    (B, T, D) where the whole backbone is frozen. Logits are (B, T, K), one row a frame, or
    (B, K) with a recurrent cell. C3d reads volumes (B, C, T, H, W), or features (B, D), to (B, K).
    """

    def __init__(
        self, config: Config, suffix: nn.ModuleList, feature_dim: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.suffix = suffix
        # Stored features come standardised by the training frames; trained ones are, as they go.
        self.standardise = nn.BatchNorm1d(feature_dim, affine=False) if len(suffix) else None
        self.recurrent: Recurrent | None = None
        if config.recurrent is not None:
            self.recurrent = Recurrent(feature_dim, **asdict(config.recurrent))
            feature_dim = config.recurrent.hidden
        self.head = Head(feature_dim, num_classes, **asdict(config.head))

    def forward(self, stored: Tensor, lengths: Tensor) -> Tensor:
        features = _features(self.config, self.suffix, stored)
        if self.standardise is not None:
            features = self.standardise(features.flatten(0, -2)).view_as(features)
        if self.recurrent is not None:
            features = self.recurrent(features, lengths)
        logits: Tensor = self.head(features)
        return logits


def feature_dim(config: Config, suffix: nn.ModuleList, sample: Tensor) -> int:
    """Count the features D that a stored sample, a batch of one clip, has after pooling."""
    with torch.no_grad():
        return _features(config, suffix, sample).shape[-1]


def _features(config: Config, suffix: nn.ModuleList, stored: Tensor) -> Tensor:
    if not len(suffix):
        return stored
    is_volume = config.stream.backbone == "c3d"
    maps = stored if is_volume else stored.flatten(0, 1)  # frames pass one by one
    for block in suffix:
        maps = block(maps)
    features = pool(maps, config.stream.pooling)
    return features if is_volume else features.view(*stored.shape[:2], -1)
