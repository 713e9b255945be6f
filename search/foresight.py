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

from fer_core import memory, precision, probe, storing
from fer_core.choices import ClipConfig, StreamConfig
from fer_core.config import Config
from fer_core.faces import prepare
from fer_core.faces.headers import header
from fer_core.manifest import Manifest
from fer_core.precision import Machine
from fer_core.repeatable import settle
from fer_core.stages import Tally
from fer_core.store import Store
from fer_core.storing import Choice, Demand
from fer_core.tiers import Shared, free_bytes, opened
from search import forecast, preparing
from search.outlook import Outlook, outlook

Prefixes = Mapping[tuple[StreamConfig, ClipConfig], Sequence[Config]]  # and the configs that share


def measured(store: Path | Shared) -> Machine:
    """Measure this machine, or recall what a store knows of it."""
    settle(threads=1)  # as a trial is given by default
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(store, Shared) or store.is_dir():
        return precision.machine(opened(store), device)
    with TemporaryDirectory() as folder:
        return precision.machine(Store(Path(folder)), device)


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
    prefixes: Prefixes, machine: Machine, *, clips: int, folds: int, store: Path | Shared
) -> dict[tuple[StreamConfig, ClipConfig], Choice]:
    """Choose for each prefix whether its activations are stored."""
    free, chosen = free_bytes(store), {}
    for (stream, clip), sharing in prefixes.items():
        demand = Demand(
            clips=clips,
            frames=clip.frames,
            epochs=round(sum(config.optimizer.epochs for config in sharing) / len(sharing)),
            folds=folds,
            trials=len(sharing),
        )
        chosen[stream, clip] = storing.choose(stream, demand, machine, free_bytes=free)
    return chosen


def study(
    configs: Sequence[Config],
    machine: Machine,
    *,
    classes: Sequence[str],
    clips: int,
    folds: int,
    raced: bool,
    stage_seconds: float,
    cpus: float,
) -> Outlook:
    """Probe the configs, and say how long the study takes on this machine, `cpus` a trial."""
    training = max(2, clips * (folds - 1) // folds)

    heads: list[float] = []

    def fold_seconds(config: Config) -> float:
        probed = probe.fold(config, tuple(classes), clips=training, folds=folds, machine=machine)
        heads.extend([] if probed.head_gib is None else [probed.head_gib])
        return probed.fold_seconds

    workers = max(1, torch.cuda.device_count() or int((os.cpu_count() or 1) / cpus))
    foreseen = outlook(
        configs,
        fold_seconds,
        folds=folds,
        raced=raced,
        stage_seconds=stage_seconds,
        workers=workers,
    )
    gpu_gib = memory.total_bytes() / 2**30 if torch.cuda.is_available() else None
    return replace(foreseen, head_gib=max(heads, default=None), gpu_gib=gpu_gib)


def feature_seconds(
    chosen: Mapping[tuple[StreamConfig, ClipConfig], Choice], machine: Machine, *, clips: int
) -> float:
    """Say how long one worker takes to make the features that are stored.

    Depths of one backbone are one pass, as long as its deepest.
    """
    passes: dict[tuple[StreamConfig, ClipConfig], float] = {}
    for (stream, clip), choice in chosen.items():
        if not choice.store:
            continue
        units = clips if stream.is_volume else clips * clip.frames
        costs = storing.costs(stream.architecture, clip.frames if stream.is_volume else 1)
        seconds = units * costs[stream.freeze_depth - 1].flops / machine.flops_of(stream)
        one = replace(stream, freeze_depth=0, blocks=1), clip
        passes[one] = max(seconds, passes.get(one, 0.0))
    return sum(passes.values())


def face_seconds(manifest: Manifest, engine: str, store: Path | Shared) -> float:
    """Say how long one worker takes to find the faces that the store does not hold."""
    shards = prepare.shards(manifest, engine, preparing.device_of(engine), Tally())
    kept = opened(store)
    missing = sum(not kept.has(shard.stage, shard.key) for shard in shards)
    if not missing:
        return 0.0
    foreseen = forecast.forecast(
        manifest.clips,
        frames=sum(header(clip).frames for clip in manifest.clips),
        engine=engine,
        workers=1,
        store=store,
    )
    return foreseen.seconds * missing / len(shards) if foreseen else 0.0
