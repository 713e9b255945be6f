"""What a trial trains of one stream: from its input to features of frames, or of a clip."""

import torch
from torch import Tensor, nn

from fer_core.config import GeometryConfig, StreamConfig
from fer_core.models.dropout import Dropout
from fer_core.models.pooling import pool
from fer_core.models.recurrent import ConvLSTM, within


class ImageReader(nn.Module):
    """A backbone's blocks from what is given on, pooled, to features (B, T, D).

    Given are maps or preprocessed crops (B, T, C, H, W), or features (B, T, D), and with volumes
    (B, C, T, H, W) or (B, D), to (B, D). The first `frozen` of the blocks stay as they are,
    normalisation statistics included. With a ConvLSTM, maps go through it before they are pooled,
    and features come out of clips, (B, D); `maps` is the shape (C, H, W) of what it reads.
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

    def settle(self, sample: Tensor) -> int:
        """Count the features D of a clip, given as a batch of one, and make what needs D.

        Stored features come standardised by the training frames; trained ones are, as they go.
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

    def forward(self, given: Tensor, lengths: Tensor) -> Tensor:
        if self.stream.is_volume:
            return self._standard(self._mapped(given)) if len(self.blocks) else given
        if not len(self.blocks):
            return given if self.convlstm is None else self._over_time(given, lengths)
        maps = self._mapped(given.flatten(0, 1), pooled=self.convlstm is None)
        frames = maps.view(*given.shape[:2], *maps.shape[1:])
        if self.convlstm is not None:
            return self._over_time(frames, lengths)
        inside = within(lengths, frames)
        standard = torch.zeros_like(frames)
        standard[inside] = self._standard(frames[inside]).to(standard.dtype)
        return standard

    def _mapped(self, maps: Tensor, *, pooled: bool = True) -> Tensor:
        for block in self.blocks:
            maps = block(maps)
        return pool(maps, self.stream.pooling) if pooled else maps

    def _over_time(self, given: Tensor, lengths: Tensor) -> Tensor:
        assert self.convlstm is not None
        assert self.maps is not None
        maps = given.reshape(*given.shape[:2], self.maps[0], -1)  # (B, T, C, positions)
        if self.standardise is not None:
            inside = within(lengths, maps)
            standard = torch.zeros_like(maps)
            standard[inside] = self._standard(maps[inside]).to(standard.dtype)
            maps = standard
        whole = maps.view(*maps.shape[:3], *self.maps[1:])
        return pool(self.convlstm(whole, lengths), self.stream.pooling)

    def _standard(self, features: Tensor) -> Tensor:
        standard: Tensor = features if self.standardise is None else self.standardise(features)
        return standard


class GeometryReader(nn.Module):
    """Encoded, standardised points (B, T, D) through a layer of their own, (B, T, hidden).

    Without it 136 values would drown among thousands of an image's; the study has none.
    """

    def __init__(self, geometry: GeometryConfig, encoded_dim: int) -> None:
        super().__init__()
        self.feature_dim = geometry.hidden or encoded_dim
        layers: list[nn.Module] = []
        if geometry.hidden:
            linear = nn.Linear(encoded_dim, geometry.hidden)
            layers = [Dropout(geometry.dropout), linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, given: Tensor, lengths: Tensor) -> Tensor:
        features: Tensor = self.layers(given)
        return features
