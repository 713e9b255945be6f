"""What all trials of a study share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_core.config import ClipConfig, StreamConfig
from fer_core.data.labels import class_names, label
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import Protocol
from fer_core.storage.paths import AnyPath
from fer_core.storage.shared_store import SharedPlace


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The data, how they are split and read, and where stages are stored; small, and pickles."""

    manifest: Manifest
    protocol: Protocol
    task: str
    seed: int
    store: Path | SharedPlace
    weights: Mapping[str, str]  # backbone: weights file that the user named
    landmarks: str  # "data", "dlib" or "face_alignment"
    surface: str | None = None  # file of the frontal views' reference surface; None: our own
    clip: ClipConfig | None = None  # where photographs or a published protocol fix the frames
    max_missing: float = 1.0  # share of the clips that a view may lose
    # What the study's draws are known to read, once for each trial that does: a pass through a
    # backbone stores all of it on its way, and the more trials share it, the more storing pays.
    streams: tuple[StreamConfig, ...] = ()
    keep: str = "rule"  # what `storing` says; "always" or "never": whatever it says
    # Where trainings say how far they are: a folder that all machines reach. None: nowhere.
    checkpoints: AnyPath | None = None

    def label(self, clip: Clip) -> str:
        return label(self.task, clip.emotion, clip.authenticity)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task, in the order of the logits."""
        return class_names([self.label(clip) for clip in self.manifest.clips])
