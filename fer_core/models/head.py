"""The head of a network: fully connected (FC) layers, then the classifier that gives the logits.

`fer_core.models.network` builds both parts from a `HeadConfig`. There is one classifier for all
classes, or one for the emotion and one for whether it is genuine or acted (`TwoHeads`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer_core.data.labels import AUTHENTICITIES, EMOTIONS
from fer_core.errors import ConfigError
from fer_core.models.dropout import Dropout


def fc_layers(feature_dim: int, count: int, width: int, dropout: float) -> nn.Sequential:
    """Build `count` hidden layers, features (..., D) to (..., width), with dropout before each.

    With a `count` of 0 the features pass unchanged.
    """
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [Dropout(dropout), nn.Linear(feature_dim, width), nn.ReLU()]
        feature_dim = width
    return nn.Sequential(*layers)


def classifier(
    feature_dim: int, classes: Sequence[str], *, dropout: float, two_heads: bool
) -> nn.Sequential:
    """Build the last layer, with dropout before it: features (..., D) to logits (..., K).

    Raises: ConfigError where two heads are asked for and the classes are not pairs of an emotion
        and whether it is genuine or acted, such as "anger_acted".
    """
    last = TwoHeads(feature_dim, classes) if two_heads else nn.Linear(feature_dim, len(classes))
    return nn.Sequential(Dropout(dropout), last)


class TwoHeads(nn.Module):
    """Classify the emotion and the authenticity by a layer each, and join them to logits (..., K).

    A class is a pair, such as "anger_acted". Its logit is the sum of the log-probabilities of its
    emotion and of its authenticity. Where every emotion occurs both genuine and acted, the
    cross-entropy over the classes is therefore the sum of the cross-entropies of the two tasks.
    """

    def __init__(self, feature_dim: int, classes: Sequence[str]) -> None:
        super().__init__()
        pairs = [name.rpartition("_")[::2] for name in classes]
        if any(kind not in AUTHENTICITIES or emotion not in EMOTIONS for emotion, kind in pairs):
            raise ConfigError(
                "head.two_heads is True; it must be False but for task 'hidden', whose classes "
                f"are pairs such as 'anger_acted': here they are {', '.join(classes)}."
            )
        emotions = sorted({emotion for emotion, _ in pairs})
        self.emotion = nn.Linear(feature_dim, len(emotions))
        self.authenticity = nn.Linear(feature_dim, len(AUTHENTICITIES))
        # Which emotion and which kind each class is: on the device, and in no file of weights.
        self.emotions: Tensor
        self.kinds: Tensor
        of_emotion = torch.tensor([emotions.index(emotion) for emotion, _ in pairs])
        of_kind = torch.tensor([AUTHENTICITIES.index(kind) for _, kind in pairs])
        self.register_buffer("emotions", of_emotion, persistent=False)
        self.register_buffer("kinds", of_kind, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        emotion = torch.log_softmax(self.emotion(features), dim=-1)
        authenticity = torch.log_softmax(self.authenticity(features), dim=-1)
        return emotion[..., self.emotions] + authenticity[..., self.kinds]
