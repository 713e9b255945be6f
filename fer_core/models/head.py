"""Fully connected layers, and the last ones, which give logits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer_core.data.labels import AUTHENTICITIES, EMOTIONS
from fer_core.errors import ConfigError
from fer_core.models.dropout import Dropout


def fc_layers(feature_dim: int, count: int, width: int, dropout: float) -> nn.Sequential:
    """Give the hidden layers, features (..., D) to (..., width); dropout stands before each."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [Dropout(dropout), nn.Linear(feature_dim, width), nn.ReLU()]
        feature_dim = width
    return nn.Sequential(*layers)


def classifier(
    feature_dim: int, classes: Sequence[str], *, dropout: float, two_heads: bool
) -> nn.Sequential:
    """Give the last layer, features (..., D) to logits (..., K).

    Raises: ConfigError where the classes are not emotions that are genuine or acted, and two
        heads were asked for.
    """
    last = TwoHeads(feature_dim, classes) if two_heads else nn.Linear(feature_dim, len(classes))
    return nn.Sequential(Dropout(dropout), last)


class TwoHeads(nn.Module):
    """Emotion and authenticity by a layer each, to the logits of both together (..., K).

    A class's logit is the sum of two log-probabilities, so that cross-entropy over the classes
    is the sum of the two tasks' own where every emotion is there genuine and acted.
    """

    def __init__(self, feature_dim: int, classes: Sequence[str]) -> None:
        super().__init__()
        pairs = [name.rpartition("_")[::2] for name in classes]
        if any(kind not in AUTHENTICITIES or emotion not in EMOTIONS for emotion, kind in pairs):
            raise ConfigError(
                "head.two_heads is True; it must be False but for task 'hidden', whose classes "
                "are emotions that are genuine or acted."
            )
        emotions = sorted({emotion for emotion, _ in pairs})
        self.emotion = nn.Linear(feature_dim, len(emotions))
        self.authenticity = nn.Linear(feature_dim, len(AUTHENTICITIES))
        self.emotions = [emotions.index(emotion) for emotion, _ in pairs]
        self.kinds = [AUTHENTICITIES.index(kind) for _, kind in pairs]

    def forward(self, features: Tensor) -> Tensor:
        emotion = torch.log_softmax(self.emotion(features), dim=-1)
        authenticity = torch.log_softmax(self.authenticity(features), dim=-1)
        return emotion[..., self.emotions] + authenticity[..., self.kinds]
