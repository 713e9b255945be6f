"""A fitted model with all its parts, which turns the views of a face into scores.

`evaluate.refit` makes it, `predict/model_folder.py` saves and loads it, and `predict/on_video.py`
uses it on new videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import ClipConfig, Config
from fer_core.data.study_data import Missing
from fer_core.faces.frontal.surface import Surface
from fer_core.features.encoders import Encoder
from fer_core.models.network import Network
from fer_core.scoring import vote
from fer_core.training.loop import probabilities


@dataclass(frozen=True, kw_only=True)
class Model:
    """A fitted model with all that is needed to use it on new videos."""

    config: Config
    task: str
    classes: tuple[str, ...]  # in the order of the scores
    encoders: tuple[Encoder, ...]  # one for each stream: how its input is computed from pixels
    network: Network
    clip: ClipConfig  # which frames of a clip are read
    frame_seconds: float  # time between two frames that are read, as in training
    landmarks: str  # engine that found the face points in training
    missing: Missing = "leave-out"  # what became of a picture without landmarks in training
    surface: Surface | None = None  # 3-D face for frontal views; None for the built-in one

    def scores(self, inputs: Sequence[Tensor]) -> Array:
        """Score clips, (B, T, K): each frame; T = 1 if the network reads a clip as a whole."""
        return probabilities(self.network, inputs)

    def voted(self, scores: Array) -> Array:
        """Turn frame scores (B, T, K) into clip scores (B, K)."""
        return vote(scores, self.config.rule)
