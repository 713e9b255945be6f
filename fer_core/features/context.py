"""Step 1 of the way from a config to its first batch: the data that all streams of a trial share.

A `TrialContext` joins a config with the study's data, a device and the store. It makes or finds
the stages `faces` (the face in every frame) and `views` (the face as one view shows it), and keeps
them in memory for the next trial. `stream_inputs`, `activations` and `pretraining` keep their own
results through its `cached`; backbones are kept by `extraction`.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import torch

from fer_core.config import GIVEN, ClipConfig, Config
from fer_core.data.manifest import Manifest
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces import faces_stage, video, views_stage
from fer_core.faces.frontal.surface import Surface, load
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces
from fer_core.features.speed import MachineSpeed, machine
from fer_core.storage import memory_cache
from fer_core.storage.memory_cache import MemoryKey, memory_key
from fer_core.storage.shared_store import AnyStore, SharedPlace, open_store
from fer_core.storage.stages import Shard, Tally, read_or_make
from fer_core.storage.store import Entry, key_of

RATED_CLIPS = 20  # clips that are read, or a few more, to learn how a dataset was filmed
T = TypeVar("T")
_NUMBERS = itertools.count()


class Stage(NamedTuple):
    """A stage of the store as a trial reads it: its shards, and the entry of each of them."""

    key: str  # hash of the shards' keys, and so of everything that the stage depends on
    shards: tuple[Shard, ...]
    entries: tuple[Entry, ...]

    @property
    def pairs(self) -> tuple[tuple[Shard, Entry], ...]:
        """Each shard with its entry: the next stage is made of these."""
        return tuple(zip(self.shards, self.entries, strict=True))


class TrialContext:
    """A trial's config, the study's data, a device and the store, with what was made of them."""

    def __init__(self, config: Config, study_data: StudyData, device: torch.device) -> None:
        self.config, self.study_data, self.device = config, study_data, device
        self.store, self.tally = _store(study_data.store), Tally()
        self._requested: set[MemoryKey] = set()  # a trial counts a value from memory only once

    @property
    def window(self) -> ClipConfig:
        """The choice of the frames that are read of a clip."""
        return self.study_data.clip or self.config.clip

    @cached_property
    def machine(self) -> MachineSpeed:
        """How fast this machine computes frozen blocks and reads the store."""
        return self.cached(memory_key("machine"), lambda: machine(self.store, self.device))

    @property
    def faces(self) -> Stage:
        """The stage `faces` with the study's landmarks; what the store lacks is made."""
        return self._faces(self.study_data.landmarks)

    @property
    def pictures(self) -> Stage:
        """The stage `faces` with each picture, whole, as the face."""
        return self._faces(GIVEN)

    def _faces(self, engine: str) -> Stage:
        """Give the stage `faces`, with the faces that an engine finds.

        It alone cannot be looked up by its own key: naming the shards of a large manifest takes
        longer than a trial. The manifest's number in this process and the landmarks' engine
        decide that key, and stand in for it.
        """

        def read() -> Stage:
            manifest, device = self.study_data.manifest, self.device.type
            return self._stage(faces_stage.shards(manifest, engine, device, self.tally))

        key = memory_key("faces", manifest=self._manifest_number, landmarks=engine)
        return self.cached(key, read, _is_complete)

    def scored_clips(self) -> frozenset[str]:
        """Name the clips on which all trials of the study are scored, whatever each can show."""
        if self.study_data.missing != "leave-out":
            return frozenset(clip.clip for clip in self.study_data.manifest.clips)
        return frozenset(clip for entry in self.faces.entries for clip in entry.meta["clips"])

    def views(self, view: str) -> Stage:
        """Give the stage `views` for one view; the shards that the store lacks are made.

        Raises: DataError where the view loses more clips than `max_missing` allows.
        """
        study_data = self.study_data
        faces = self.pictures if view == GIVEN else self.faces
        falls_back = study_data.missing == "fallback" and view != GIVEN
        pictures = self.pictures if falls_back else None
        surface = _surface(study_data.surface) if study_data.surface else None

        def read() -> Stage:
            whole = pictures.pairs if pictures else None
            return self._stage(views_stage.shards(faces.pairs, self.window, view, surface, whole))

        key = memory_key(
            "views",
            of=faces.key,
            pictures=pictures.key if pictures else None,
            window=self.window.active(),
            view=view,
            surface=surface.sha256 if surface else None,
        )
        views = self.cached(key, read, _is_complete)
        lost = sum(len(entry.meta["skipped"]) for entry in views.entries)
        lost -= sum(len(entry.meta["skipped"]) for entry in faces.entries)
        clips = len(study_data.manifest.clips)
        if lost > study_data.max_missing * clips:
            raise DataError(
                f"view '{view}' cannot show {lost} of {clips} clips; --max-missing allows at "
                f"most {study_data.max_missing:.0%} of them."
            )
        return views

    def cached(
        self, key: MemoryKey, make: Callable[[], T], usable: Callable[[T], bool] = lambda _: True
    ) -> T:
        """Give the value that this process keeps under a key; make and keep it if there is none.

        Nobody may change the value. One store and one device never share a value with another.
        `usable` says whether a kept value can still be used; if not, it is made again. The tally
        of the trial counts, once, the shards that a value from memory was made of.
        """
        place, tally = (self.study_data.store, self.device, key), self.tally
        memory = memory_cache.process()
        first_request = key not in self._requested
        self._requested.add(key)
        found = memory.get(place)
        if found is not None:
            value, shards, seconds = cast(tuple[T, int, float], found)
            if usable(value):
                if first_request:
                    tally.add(stages_held=shards, seconds_saved=seconds)
                    tally.see(shards=shards, seconds=seconds)
                return value
        shards, seconds = tally.shards, tally.seconds
        made = make()
        memory.put(place, (made, tally.shards - shards, tally.seconds - seconds))
        return made

    def frame_seconds(self) -> float:
        """Measure the seconds between two frames that are read of a clip: the median of clips."""
        by_name = {clip.clip: clip for clip in self.study_data.manifest.clips}
        steps = []
        given = all(stream.view == GIVEN for stream in self.config.images)
        stage = self.pictures if given and self.config.images else self.faces
        for entry in stage.entries:
            faces = Faces(entry)
            for clip in faces.clips:
                track = faces.track(clip)
                frames = pick(track.points, track.usable, self.window)
                times = video.times(by_name[clip].path, by_name[clip].offset)
                apart = times[frames[-1]] - times[frames[0]]
                steps.append(float(apart) / max(1, len(frames) - 1))
            if len(steps) >= RATED_CLIPS:
                break
        return statistics.median(steps)

    @cached_property
    def _manifest_number(self) -> int:
        return _number(self.study_data.manifest)

    def _stage(self, shards: Sequence[Shard]) -> Stage:
        entries = read_or_make(self.store, shards, self.tally)
        key = key_of({"shards": [shard.key for shard in shards]})
        return Stage(key, tuple(shards), tuple(entries))


def _is_complete(stage: Stage) -> bool:
    """Whether all files of a stage that is kept in memory are still in the store."""
    return all(entry.path.exists() for entry in stage.entries)


@cache
def _number(_manifest: Manifest) -> int:
    """Number the manifests of this process; equal manifests have one number."""
    return next(_NUMBERS)


@cache
def _surface(path: str) -> Surface:
    return load(Path(path))


@cache
def _store(store: Path | SharedPlace) -> AnyStore:
    """Open a store once a process: it then checks the hash of each entry only once."""
    return open_store(store)
