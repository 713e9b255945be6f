"""What all streams of a trial share: the data, the faces found in them, and the store."""

import itertools
import statistics
from collections.abc import Callable, Hashable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar, cast

import torch

from fer_core.config import ClipConfig, Config
from fer_core.data.manifest import Manifest
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces import faces_stage, video, views_stage
from fer_core.faces.frontal.surface import Surface, load
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces
from fer_core.features.speed import MachineSpeed, machine
from fer_core.storage import memory_cache
from fer_core.storage.shared_store import AnyStore, SharedPlace, open_store
from fer_core.storage.stages import Shard, Tally, read_or_make
from fer_core.storage.store import Entry

RATED_CLIPS = 20  # enough to know how a dataset was filmed
Stage = tuple[tuple[Shard, Entry], ...]
T = TypeVar("T")
_NUMBERS = itertools.count()


class TrialContext:
    """A trial's config on an experiment's data, on one device."""

    def __init__(self, config: Config, study_data: StudyData, device: torch.device) -> None:
        self.config, self.study_data, self.device = config, study_data, device
        self.store, self.tally = _store(study_data.store), Tally()
        self._known: set[Hashable] = set()  # what this trial asked to hold

    @property
    def window(self) -> ClipConfig:
        """The frames that are read of a clip."""
        return self.study_data.clip or self.config.clip

    @cached_property
    def machine(self) -> MachineSpeed:
        """What frozen passes and the store run at here."""
        key = ("machine", self.study_data.store, self.device)
        return self.cached(key, lambda: machine(self.store, self.device))

    @cached_property
    def data(self) -> Hashable:
        """What the stage `faces` depends on, and where it lies."""
        study_data = self.study_data
        same = _number(study_data.manifest)
        return study_data.store, same, study_data.landmarks, self.device

    @cached_property
    def faces(self) -> Stage:
        """The stage `faces`, made where it is missing."""

        def read() -> Stage:
            study_data = self.study_data
            engine, device = study_data.landmarks, self.device.type
            shards = faces_stage.shards(study_data.manifest, engine, device, self.tally)
            return self._gathered(shards)

        return self.cached(("faces", self.data), read, _there)

    def cached(
        self, key: Hashable, make: Callable[[], T], still: Callable[[T], bool] = lambda _: True
    ) -> T:
        """Give what this process holds under a key, or make it.

        Nothing of what is held may be changed. `still` says whether it can be used. The tally
        counts the shards that it is of, once in a trial.
        """
        cache, tally = memory_cache.process(), self.tally
        known = key in self._known
        self._known.add(key)
        found = cache.get(key)
        if found is not None:
            value, shards, seconds = cast(tuple[T, int, float], found)
            if still(value):
                if not known:
                    tally.add(stages_held=shards, seconds_saved=seconds)
                    tally.see(shards=shards, seconds=seconds)
                return value
        shards, seconds = tally.shards, tally.seconds
        made = make()
        cache.put(key, (made, tally.shards - shards, tally.seconds - seconds))
        return made

    def frame_seconds(self) -> float:
        """Say how far apart frames are that are read of a clip: the median over some clips."""
        paths = {clip.clip: clip.path for clip in self.study_data.manifest.clips}
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

    def views(self, view: str) -> Stage:
        """Make the views.

        Raises: DataError where the view loses so many clips that its score would mislead.
        """
        study_data, faces = self.study_data, self.faces
        surface = _surface(study_data.surface) if study_data.surface else None

        def read() -> Stage:
            shards = views_stage.shards(faces, self.window, view, surface, self.device.type)
            return self._gathered(shards)

        named = surface.sha256 if surface else None
        shown = self.cached(("views", self.data, self.window, view, named), read, _there)
        lost = sum(len(entry.meta["skipped"]) for _, entry in shown)
        lost -= sum(len(entry.meta["skipped"]) for _, entry in faces)
        if lost > study_data.max_missing * len(study_data.manifest.clips):
            raise DataError(f"view '{view}' cannot show {lost} clips, over --max-missing.")
        return shown

    def _gathered(self, shards: Sequence[Shard]) -> Stage:
        return tuple(zip(shards, read_or_make(self.store, shards, self.tally), strict=True))


def _there(stage: Stage) -> bool:
    """Whether nobody removed an entry of a stage that is held."""
    return all(entry.path.exists() for _, entry in stage)


@cache
def _number(_manifest: Manifest) -> int:
    """Number the manifests of this process: a number is compared faster than many clips."""
    return next(_NUMBERS)


@cache
def _surface(path: str) -> Surface:
    return load(Path(path))


@cache
def _store(store: Path | SharedPlace) -> AnyStore:
    """Keep one store a process, which hashes each entry once."""
    return open_store(store)
