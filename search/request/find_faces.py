"""Every face of a dataset, found and kept before the first trial asks for one."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.manifest import Manifest
from fer_core.errors import DataError
from fer_core.faces import faces_stage, views_stage
from fer_core.faces.tracks import Faces
from fer_core.storage.shared_store import SharedPlace, open_store
from fer_core.storage.stages import Tally, make, read_or_make


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The stage `faces` of a whole dataset."""

    faces: tuple[Faces, ...]
    skipped: Mapping[str, str]  # clip: why it cannot be used
    notes: Mapping[str, str]  # clip: what is odd about it
    seconds: float
    made: int  # shards that the store did not hold


def faces(
    manifest: Manifest,
    *,
    engine: str,
    store: Path | SharedPlace,
    workers: int,
    progress: Callable[[int, int], None],
) -> Prepared:
    """Make the stage in several processes; killed, it goes on where it was.

    `progress` is told after each shard how many of how many missing ones are made.
    """
    started = time.monotonic()
    shared = open_store(store)
    shards = faces_stage.shards(manifest, engine, device_of(engine), Tally())
    made = 0
    if device_of(engine) != "cpu":
        workers = 1  # processes that share a GPU wait for each other, and each loads the network
    for made, missing in make(shared, shards, workers):
        progress(made, missing)
    read = tuple(Faces(entry) for entry in read_or_make(shared, shards, Tally()))
    return Prepared(
        faces=read,
        skipped={clip: reason for shard in read for clip, reason in shard.skipped.items()},
        notes={clip: note for shard in read for clip, note in shard.notes.items()},
        seconds=time.monotonic() - started,
        made=made,
    )


def views(
    manifest: Manifest,
    *,
    view: str,
    clip: ClipConfig,
    engine: str,
    store: Path | SharedPlace,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Make the stage `views` of a dataset for one view and window, in several processes."""
    shared = open_store(store)
    device = "cuda" if view.startswith("frontal") and _has_gpu() else "cpu"
    found = faces_stage.shards(manifest, engine, device_of(engine), Tally())
    entries = read_or_make(shared, found, Tally())
    shards = views_stage.shards(list(zip(found, entries, strict=True)), clip, view, None, device)
    for made, missing in make(shared, shards, workers if device == "cpu" else 1):
        progress(made, missing)


def check_missing(manifest: Manifest, skipped: Mapping[str, str], most: float) -> None:
    """Refuse data of which too much is missing.

    Raises: DataError that says how much, and one reason.
    """
    if len(skipped) == len(manifest.clips):
        reason = next(iter(skipped.values()))
        raise DataError(f"no clip of {manifest.root} can be used: {reason}")
    share = manifest.missing_share(len(skipped))
    if share > most:
        first = next(iter([*manifest.left_out, *skipped.items()]))
        raise DataError(
            f"{share:.1%} of the clips below {manifest.root} cannot be used, and --max-missing is "
            f"{most:.1%}; the first is {first[0]}: {first[1]}"
        )


def device_of(engine: str) -> str:
    """Choose where the engine runs: dlib has the CPU only."""
    if engine != "face_alignment":
        return "cpu"
    return "cuda" if _has_gpu() else "cpu"


def _has_gpu() -> bool:
    import torch  # here and not above: it takes half a gigabyte of memory

    return torch.cuda.is_available()
