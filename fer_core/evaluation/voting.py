"""From frame scores to a clip's score: it costs nothing, as frame scores are kept."""

import numpy as np

from fer_core.errors import ConfigError, unknown
from fer_core.store import Array

RULES = ("majority", "mean_probability", "mean_logit")
_LEAST = 1e-30  # a probability of zero has no logarithm


def vote(frame_probabilities: Array, rule: str = "mean_probability") -> Array:
    """Turn frame probabilities (N, T, K) into clip probabilities (N, K).

    majority: the share of frames that each class wins, and of equals the more probable;
    mean_logit: the normalised geometric mean, which is the softmax of the mean logit.

    Raises: ConfigError for an unknown rule.
    """
    mean: Array = frame_probabilities.mean(axis=1)
    match rule:
        case "mean_probability":
            return mean
        case "majority":
            classes = frame_probabilities.shape[-1]
            wins = np.eye(classes)[frame_probabilities.argmax(axis=-1)].mean(axis=1)
            shares = wins + 1e-3 / frame_probabilities.shape[1] * mean  # less than a frame's vote
            voted: Array = shares / shares.sum(axis=-1, keepdims=True)
            return voted.astype(mean.dtype)
        case "mean_logit":
            logits = np.log(np.maximum(frame_probabilities, _LEAST)).mean(axis=1)
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            joined: Array = powers / powers.sum(axis=-1, keepdims=True)
            return joined
        case _:
            raise ConfigError(unknown("voting", rule, RULES))
