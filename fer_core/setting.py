"""What all streams of a trial share: the data, the faces found in them, and the store."""

import statistics
from functools import cache, cached_property
from pathlib import Path

import torch

from fer_core.choices import ClipConfig
from fer_core.config import Config
from fer_core.errors import DataError
from fer_core.experiment import Experiment
from fer_core.faces import prepare, present, video
from fer_core.faces.sampling import pick
from fer_core.faces.surface import Surface, load
from fer_core.faces.tracks import Faces
from fer_core.stages import Shard, Tally, gather
from fer_core.store import Entry, Store

RATED_CLIPS = 20  # enough to know how a dataset was filmed


class Setting:
    """A trial's config on an experiment's data, on one device."""

    def __init__(self, config: Config, experiment: Experiment, device: torch.device) -> None:
        self.config, self.experiment, self.device = config, experiment, device
        self.store, self.tally = _store(experiment.store), Tally()

    @property
    def window(self) -> ClipConfig:
        """The frames that are read of a clip."""
        return self.experiment.clip or self.config.clip

    @cached_property
    def faces(self) -> list[tuple[Shard, Entry]]:
        """The stage `faces`, made where it is missing."""
        experiment = self.experiment
        shards = prepare.shards(
            experiment.manifest, experiment.landmarks, self.device.type, self.tally
        )
        return list(zip(shards, gather(self.store, shards, self.tally), strict=True))

    def frame_seconds(self) -> float:
        """Say how far apart frames are that are read of a clip: the median over some clips."""
        paths = {clip.clip: clip.path for clip in self.experiment.manifest.clips}
        steps = []
        for _, entry in self.faces:
            faces = Faces(entry)
            for clip in faces.clips:
                track = faces.track(clip)
                read = pick(track.points, track.usable, self.window)
                apart = (read[-1] - read[0]) / max(1, len(read) - 1)
                steps.append(float(apart) / video.frames_per_second(paths[clip]))
            if len(steps) >= RATED_CLIPS:
                break
        return statistics.median(steps)

    def views(self, view: str) -> list[tuple[Shard, Entry]]:
        """Make the views.

        Raises: DataError where the view loses so many clips that its score would mislead.
        """
        experiment, faces = self.experiment, self.faces
        surface = _surface(experiment.surface) if experiment.surface else None
        shards = present.shards(faces, self.window, view, surface, self.device.type)
        entries = gather(self.store, shards, self.tally)
        lost = sum(len(entry.meta["skipped"]) for entry in entries)
        lost -= sum(len(entry.meta["skipped"]) for _, entry in faces)
        if lost > experiment.max_missing * len(experiment.manifest.clips):
            raise DataError(f"view '{view}' cannot show {lost} clips, over --max-missing.")
        return list(zip(shards, entries, strict=True))


@cache
def _surface(path: str) -> Surface:
    return load(Path(path))


@cache
def _store(root: Path) -> Store:
    """Keep one store a process, which hashes each entry once."""
    return Store(root)
