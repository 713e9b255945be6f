"""The results of a trial: how each of its folds came out, and how its sealed test.

`trial_data` makes them from scores, and the search writes them down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fer_core.arrays import Array
from fer_core.scoring import Metrics
from fer_core.storage.stages import Work


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """How one fold of a trial came out.

    It has N validation clips of T frames each; T is 1 where the network reads a clip as a whole.
    Clips that other trials can show and this one cannot are among them; their scores are NaN.
    """

    fold: int
    metrics: Metrics
    clips: tuple[str, ...]  # names of the N clips
    subjects: Array  # (N,) str
    labels: Array  # (N,) int64
    probabilities: Array  # (N, K) float32, after voting
    frame_probabilities: Array  # (N, T, K) float32
    losses: tuple[float, ...]  # mean training loss of each epoch
    train_seconds: float
    params: int  # parameters of the whole model, frozen ones included
    peak_memory_gib: float  # highest memory use of the trial so far
    device: str
    weights_source: str
    work: Work  # what the trial has computed and read so far
    skipped: Mapping[str, str]  # clip: why it was left out
    # The share of the trial's clips whose whole picture took the place of a view.
    fallback_share: float = 0.0
    epochs_restored: int = 0  # epochs of this fold that came from a checkpoint
    still_improving: bool = False  # whether its loss was still falling when it ended
    extended: bool = False  # whether it got more epochs than its config says, since it was falling
    note: str = ""  # of a baseline: what it chose, and on what sample it was fitted


@dataclass(frozen=True, kw_only=True)
class SealedResult:
    """How a model does on the sealed subjects, by which nothing was fitted or chosen."""

    metrics: Metrics
    clips: tuple[str, ...]  # names of the N clips
    subjects: Array  # (N,) str
    labels: Array  # (N,) int64
    probabilities: Array  # (N, K) float32, after voting
