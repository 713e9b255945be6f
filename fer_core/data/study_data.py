"""`StudyData`: what all trials of a study share, namely its data, their split and its settings.

`search` makes it once and sends it to every worker; a trial is then described by it and a `Config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from fer_core.config import ClipConfig, StreamConfig
from fer_core.data.labels import class_names, label
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import Protocol
from fer_core.storage.paths import AnyPath
from fer_core.storage.shared_store import SharedPlace

Missing = Literal["leave-out", "fallback", "wrong"]
"""What becomes of a clip in which no face is found.

leave-out: no trial is scored on it. fallback: views show the whole picture in the place of the
face; for landmarks it counts as wrong. wrong: it counts as wrong in every trial.
"""
MISSING: tuple[Missing, ...] = get_args(Missing)


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The data, how they are split and read, and where stages are stored.

    It is small, because it names files instead of holding them, and it pickles.
    """

    manifest: Manifest
    protocol: Protocol
    task: str
    seed: int
    store: Path | SharedPlace
    weights: Mapping[str, str]  # backbone: weights file that the user named
    landmarks: str  # where landmarks come from: "data", or an engine of faces/landmarks.py
    surface: str | None = None  # file of the reference surface for frontal views; None: our own
    clip: ClipConfig | None = None  # frames that the data or a published protocol fix; None: free
    given_faces: bool = False  # whether each picture is a face that was cut out already
    missing: Missing = "leave-out"
    # The share of the clips in which no landmarks are found; None: nobody looked for them. Where
    # `missing` is not "leave-out", such clips count as wrong for all that reads landmarks.
    without_landmarks: float | None = None
    max_missing: float = 1.0  # largest share of the clips that a view may lose
    # The image streams that the study's first draws read, once for each trial that reads one. The
    # more trials share a stream, the more it pays to store what its backbone computes.
    streams: tuple[StreamConfig, ...] = ()
    # Whether features are stored: "always", "never", or by "rule" (features/storing_rule.py).
    keep: str = "rule"
    # A folder that all machines reach, where trainings save checkpoints; None: they save none.
    checkpoints: AnyPath | None = None

    def reseeded(self, offset: int) -> "StudyData":
        """Return the same data for a training with another seed, `offset` above the study's."""
        return replace(self, seed=self.seed + offset)

    def label(self, clip: Clip) -> str:
        """Return the class of a clip in the study's task."""
        return label(self.task, clip.emotion, clip.authenticity)

    @cached_property  # a search asks for them at each draw, and there may be many clips
    def classes(self) -> tuple[str, ...]:
        """The classes of the task, in the order of the logits."""
        return class_names([self.label(clip) for clip in self.manifest.clips])
