"""What the machine says of a plan: which activations it would store, and how long a study takes.

This imports torch, and times it for some seconds; nothing is kept but in a store that is there.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from fer_core import machine as machine_
from fer_core.config import ClipConfig, Config, StreamConfig
from fer_core.data.manifest import Manifest
from fer_core.faces import faces_stage
from fer_core.faces.file_checks import header
from fer_core.features import speed, storing_rule
from fer_core.features.speed import MachineSpeed
from fer_core.features.storing_rule import Choice, Reads
from fer_core.machine import make_deterministic
from fer_core.storage.shared_store import SharedPlace, free_bytes, open_store
from fer_core.storage.stages import Tally
from fer_core.storage.store import Store
from fer_core.trial import timing
from search.planning import face_seconds as face_seconds_
from search.planning.duration import Duration, predict_duration
from search.request import find_faces

Prefixes = Mapping[tuple[StreamConfig, ClipConfig], Sequence[Config]]  # and the configs that share


def measured(store: Path | SharedPlace) -> MachineSpeed:
    """Measure this machine, or recall what a store knows of it."""
    make_deterministic(threads=1)  # as a trial is given by default
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(store, SharedPlace) or store.is_dir():
        return speed.machine(open_store(store), device)
    with TemporaryDirectory() as folder:
        return speed.machine(Store(Path(folder)), device)


def sharing(configs: Sequence[Config]) -> Prefixes:
    """Group configs by the frozen prefixes that they share.

    Pooling, PCA and all that is trained come after a prefix. Of augmented images nothing is stored.
    """
    found: dict[tuple[StreamConfig, ClipConfig], list[Config]] = defaultdict(list)
    for config in configs:
        stored = [s for s in config.images if s.freeze_depth and config.augment is None]
        for stream in {replace(stream, pooling="none", pca_dim=None) for stream in stored}:
            found[stream, config.clip].append(config)
    return found


def choices(
    prefixes: Prefixes, machine: MachineSpeed, *, clips: int, folds: int, store: Path | SharedPlace
) -> dict[tuple[StreamConfig, ClipConfig], Choice]:
    """Choose for each prefix whether its activations are stored."""
    free, chosen = free_bytes(store), {}
    for (stream, clip), sharing in prefixes.items():
        demand = Reads(
            clips=clips,
            frames=clip.frames,
            epochs=round(sum(config.optimizer.epochs for config in sharing) / len(sharing)),
            folds=folds,
            trials=len(sharing),
        )
        chosen[stream, clip] = storing_rule.whether_to_store(
            stream, demand, machine, free_bytes=free
        )
    return chosen


def study(
    configs: Sequence[Config],
    machine: MachineSpeed,
    *,
    classes: Sequence[str],
    clips: int,
    folds: int,
    raced: bool,
    stage_seconds: float,
    cpus: float,
) -> Duration:
    """Probe the configs, and say how long the study takes on this machine, `cpus` a trial."""
    training = max(2, clips * (folds - 1) // folds)

    heads: list[float] = []

    def fold_seconds(config: Config) -> float:
        probed = timing.fold(config, tuple(classes), clips=training, folds=folds, machine=machine)
        heads.extend([] if probed.head_gib is None else [probed.head_gib])
        return probed.fold_seconds

    workers = max(1, torch.cuda.device_count() or int((os.cpu_count() or 1) / cpus))
    foreseen = predict_duration(
        configs,
        fold_seconds,
        folds=folds,
        raced=raced,
        stage_seconds=stage_seconds,
        workers=workers,
    )
    gpu_gib = machine_.total_bytes() / 2**30 if torch.cuda.is_available() else None
    return replace(foreseen, head_gib=max(heads, default=None), gpu_gib=gpu_gib)


def feature_seconds(
    chosen: Mapping[tuple[StreamConfig, ClipConfig], Choice], machine: MachineSpeed, *, clips: int
) -> float:
    """Say how long one worker takes to make the features that are stored.

    Depths of one backbone are one pass, as long as its deepest.
    """
    passes: dict[tuple[StreamConfig, ClipConfig], float] = {}
    for (stream, clip), choice in chosen.items():
        if not choice.store:
            continue
        units = clips if stream.is_volume else clips * clip.frames
        costs = storing_rule.costs(stream.architecture, clip.frames if stream.is_volume else 1)
        seconds = units * costs[stream.freeze_depth - 1].flops / machine.flops_of(stream)
        one = replace(stream, freeze_depth=0, blocks=1), clip
        passes[one] = max(seconds, passes.get(one, 0.0))
    return sum(passes.values())


def face_seconds(manifest: Manifest, engine: str, store: Path | SharedPlace) -> float:
    """Say how long one worker takes to find the faces that the store does not hold."""
    shards = faces_stage.shards(manifest, engine, find_faces.device_of(engine), Tally())
    kept = open_store(store)
    missing = sum(not kept.has(shard.stage, shard.key) for shard in shards)
    if not missing:
        return 0.0
    foreseen = face_seconds_.forecast(
        manifest.clips,
        frames=sum(header(clip).frames for clip in manifest.clips),
        engine=engine,
        workers=1,
        store=store,
    )
    return foreseen.seconds * missing / len(shards) if foreseen else 0.0
