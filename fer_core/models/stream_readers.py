"""Stream readers: the trainable part of one stream, from its input to features.

Each stream of a `Config` has one reader in the network. An `ImageReader` runs the backbone blocks
that were not computed in advance, and a `GeometryReader` reads encoded landmarks.
`fer_core.models.network` builds them and joins their features.
"""

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.arrays import Array
from fer_core.config import GeometryConfig, StreamConfig
from fer_core.models.dropout import Dropout
from fer_core.models.pooling import pool
from fer_core.models.recurrent import ConvLSTM, unpadded, within

_HARDLY = 1e-3  # a feature hardly varies if its deviation is this share of the features' together
_ROUNDING = 1e-6  # share of a value that may come from rounding


def hardly_varies(deviations: Array, means: Array) -> Array:
    """Say which features (D,) hardly vary in training, compared with the others, or not at all.

    Standardised by so small a deviation, the first frame in which such a feature differs would be
    hundreds of deviations away.
    """
    together = np.sqrt((deviations.astype(np.float64) ** 2).mean())
    least: Array = deviations <= np.maximum(_HARDLY * together, _ROUNDING * np.abs(means))
    return least


class ImageReader(nn.Module):
    """Run the remaining blocks of a backbone, and pool their maps, to features (B, T, D).

    The input is preprocessed crops or maps (B, T, C, H, W), or, where no block remains, stored
    features (B, T, D). A volume backbone reads (B, C, T, H, W), or stored features (B, D), and
    gives (B, D). The first `frozen` of the blocks keep their weights and their normalisation
    statistics. With a ConvLSTM, maps go through it before they are pooled, and the features are
    those of clips, (B, D); `maps` is then the shape (C, H, W) of the maps that it reads.
    """

    def __init__(
        self,
        stream: StreamConfig,
        blocks: nn.ModuleList,
        *,
        frozen: int = 0,
        convlstm: ConvLSTM | None = None,
        maps: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.stream, self.blocks, self.frozen = stream, blocks, frozen
        self.convlstm, self.maps = convlstm, maps
        self.standardise: nn.Module | None = None
        blocks[:frozen].requires_grad_(False)

    def finish_for(self, sample: Tensor) -> int:
        """Build the layer that needs the number of features D, and return D.

        `sample` is the input of one clip, as a batch. Stored features come standardised by the
        training frames; features of blocks that train are standardised here, by running statistics.
        """
        lengths = torch.full((1,), sample.shape[1])
        with torch.no_grad():
            dim: int = self.eval()(sample, lengths).shape[-1]
        if len(self.blocks):
            channels = self.maps[0] if self.maps else dim
            self.standardise = nn.BatchNorm1d(channels, affine=False).to(sample.device)
        return dim

    def train(self, mode: bool = True) -> "ImageReader":
        super().train(mode)
        self.blocks[: self.frozen].eval()
        return self

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        if self.stream.is_volume:
            return self._standardised(self._mapped(inputs)) if len(self.blocks) else inputs
        if not len(self.blocks):
            return inputs if self.convlstm is None else self._over_time(inputs, lengths)
        maps = self._mapped(inputs.flatten(0, 1), pooled=self.convlstm is None)
        frames = maps.view(*inputs.shape[:2], *maps.shape[1:])
        if self.convlstm is not None:
            return self._over_time(frames, lengths)
        return self._standardised_within(frames, lengths)

    def _mapped(self, maps: Tensor, *, pooled: bool = True) -> Tensor:
        for block in self.blocks:
            maps = block(maps)
        return pool(maps, self.stream.pooling) if pooled else maps

    def _over_time(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Run the ConvLSTM over the maps of the frames, and pool its last states, (B, D)."""
        assert self.convlstm is not None
        assert self.maps is not None
        maps = frames.reshape(*frames.shape[:2], self.maps[0], -1)  # (B, T, C, positions)
        if self.standardise is not None:
            maps = self._standardised_within(maps, lengths)
        maps = maps.view(*maps.shape[:3], *self.maps[1:])
        return pool(self.convlstm(maps, lengths), self.stream.pooling)

    def _standardised_within(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Standardise the frames (B, T, ...) of each clip, and set its padding to zero."""
        if unpadded(lengths, frames):  # a mask would wait for a GPU
            whole = self._standardised(frames.flatten(0, 1))
            return whole.to(frames.dtype).view_as(frames)
        inside = within(lengths, frames)
        standardised = torch.zeros_like(frames)
        standardised[inside] = self._standardised(frames[inside]).to(standardised.dtype)
        return standardised

    def _standardised(self, features: Tensor) -> Tensor:
        result: Tensor = features if self.standardise is None else self.standardise(features)
        return result


class GeometryReader(nn.Module):
    """Read encoded, standardised landmarks (B, T, D) by an FC layer, to (B, T, hidden).

    The layer brings the 136 values of the landmarks to a size at which the thousands of features
    of an image do not outweigh them. With `hidden` 0 there is no layer, as in the study that this
    project reproduces.
    """

    def __init__(self, geometry: GeometryConfig, encoded_dim: int) -> None:
        super().__init__()
        self.feature_dim = geometry.hidden or encoded_dim
        layers: list[nn.Module] = []
        if geometry.hidden:
            linear = nn.Linear(encoded_dim, geometry.hidden)
            layers = [Dropout(geometry.dropout), linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, points: Tensor, lengths: Tensor) -> Tensor:
        features: Tensor = self.layers(points)
        return features
