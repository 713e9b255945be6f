"""A fitted model, whole: from what is seen of a face to scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import ClipConfig, Config
from fer_core.faces.frontal.surface import Surface
from fer_core.features.encoders import Encoder
from fer_core.models.network import Network
from fer_core.scoring import vote
from fer_core.training.loop import probabilities


@dataclass(frozen=True, kw_only=True)
class Model:
    """A fitted model, whole: from what is seen of a face to scores."""

    config: Config
    task: str
    classes: tuple[str, ...]  # in the order of the scores
    encoders: tuple[Encoder, ...]  # one for each stream
    network: Network
    clip: ClipConfig  # the frames that are read of a clip
    frame_seconds: float  # between two frames that are read, as in training
    landmarks: str  # whose points it was trained with
    surface: Surface | None = None  # of frontal views; None: our own

    def scores(self, given: Sequence[Tensor]) -> Array:
        """Score clips, (B, T, K): each frame, or T = 1 where a clip is seen whole."""
        return probabilities(self.network, given)

    def voted(self, scores: Array) -> Array:
        """Turn frame scores (B, T, K) into clip scores (B, K)."""
        return vote(scores, self.config.rule)
