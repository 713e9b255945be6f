"""Fully connected head: features to logits through up to three hidden layers."""

from torch import Tensor, nn


class Head(nn.Module):
    """Features (..., D) to logits (..., K); dropout stands before every linear layer."""

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        *,
        fc_layers: int = 0,
        fc_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(fc_layers):
            layers += [nn.Dropout(dropout), nn.Linear(feature_dim, fc_width), nn.ReLU()]
            feature_dim = fc_width
        layers += [nn.Dropout(dropout), nn.Linear(feature_dim, num_classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)
        return logits
