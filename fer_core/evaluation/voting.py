"""From frame scores to a clip's score."""

from fer_core.store import Array


def vote(frame_probabilities: Array) -> Array:
    """Average frame probabilities (N, T, K) into clip probabilities (N, K)."""
    result: Array = frame_probabilities.mean(axis=1)
    return result
