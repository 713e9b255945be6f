"""What all streams of a trial share: the data, the faces found in them, and the store."""

import itertools
import statistics
from collections.abc import Callable, Hashable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar, cast

import torch

from fer_core import held
from fer_core.choices import ClipConfig
from fer_core.config import Config
from fer_core.errors import DataError
from fer_core.experiment import Experiment
from fer_core.faces import prepare, present, video
from fer_core.faces.sampling import pick
from fer_core.faces.surface import Surface, load
from fer_core.faces.tracks import Faces
from fer_core.manifest import Manifest
from fer_core.precision import Machine, machine
from fer_core.stages import Shard, Tally, gather
from fer_core.store import Entry
from fer_core.tiers import AnyStore, Shared, opened

RATED_CLIPS = 20  # enough to know how a dataset was filmed
Stage = tuple[tuple[Shard, Entry], ...]
T = TypeVar("T")
_NUMBERS = itertools.count()


class Setting:
    """A trial's config on an experiment's data, on one device."""

    def __init__(self, config: Config, experiment: Experiment, device: torch.device) -> None:
        self.config, self.experiment, self.device = config, experiment, device
        self.store, self.tally = _store(experiment.store), Tally()
        self._known: set[Hashable] = set()  # what this trial asked to hold

    @property
    def window(self) -> ClipConfig:
        """The frames that are read of a clip."""
        return self.experiment.clip or self.config.clip

    @cached_property
    def machine(self) -> Machine:
        """What frozen passes and the store run at here."""
        key = ("machine", self.experiment.store, self.device)
        return self.held(key, lambda: machine(self.store, self.device))

    @cached_property
    def data(self) -> Hashable:
        """What the stage `faces` depends on, and where it lies."""
        experiment = self.experiment
        same = _number(experiment.manifest)
        return experiment.store, same, experiment.landmarks, self.device

    @cached_property
    def faces(self) -> Stage:
        """The stage `faces`, made where it is missing."""

        def read() -> Stage:
            experiment = self.experiment
            engine, device = experiment.landmarks, self.device.type
            shards = prepare.shards(experiment.manifest, engine, device, self.tally)
            return self._gathered(shards)

        return self.held(("faces", self.data), read, _there)

    def held(
        self, key: Hashable, make: Callable[[], T], still: Callable[[T], bool] = lambda _: True
    ) -> T:
        """Give what this process holds under a key, or make it.

        Nothing of what is held may be changed. `still` says whether it can be used. The tally
        counts the shards that it is of, once in a trial.
        """
        cache, tally = held.process(), self.tally
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

    def views(self, view: str) -> Stage:
        """Make the views.

        Raises: DataError where the view loses so many clips that its score would mislead.
        """
        experiment, faces = self.experiment, self.faces
        surface = _surface(experiment.surface) if experiment.surface else None

        def read() -> Stage:
            shards = present.shards(faces, self.window, view, surface, self.device.type)
            return self._gathered(shards)

        named = surface.sha256 if surface else None
        shown = self.held(("views", self.data, self.window, view, named), read, _there)
        lost = sum(len(entry.meta["skipped"]) for _, entry in shown)
        lost -= sum(len(entry.meta["skipped"]) for _, entry in faces)
        if lost > experiment.max_missing * len(experiment.manifest.clips):
            raise DataError(f"view '{view}' cannot show {lost} clips, over --max-missing.")
        return shown

    def _gathered(self, shards: Sequence[Shard]) -> Stage:
        return tuple(zip(shards, gather(self.store, shards, self.tally), strict=True))


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
def _store(store: Path | Shared) -> AnyStore:
    """Keep one store a process, which hashes each entry once."""
    return opened(store)
