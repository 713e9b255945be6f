"""Price a plan on this machine: what would be stored, and how long its parts would take.

The plan of a study calls these functions, and so does a study that starts, which prints what it
will not store. The price of a backbone comes from `fer_core.models.profile`, the price of a head
from `fer_core.trial.timing`. Importing this file imports torch, and measuring a machine takes some
seconds; nothing is written, except for the machine's figures in a store that exists.
"""

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
from fer_core.features import speed, storing_rule
from fer_core.features.speed import MachineSpeed
from fer_core.features.storing_rule import Choice, Reads
from fer_core.machine import make_deterministic
from fer_core.models.profile import profile
from fer_core.storage.shared_store import SharedPlace, free_bytes, open_store
from fer_core.storage.stages import Tally
from fer_core.storage.store import Store
from fer_core.trial import timing
from search.planning.duration import Duration, predict_duration
from search.planning.face_seconds import count_frames, forecast
from search.request import find_faces

FrozenPart = tuple[StreamConfig, ClipConfig]  # a backbone up to its freeze depth, on some frames


def machine_speed(store: Path | SharedPlace) -> MachineSpeed:
    """Measure this machine, or read what the store knows about it."""
    make_deterministic(threads=1)  # a trial has one thread, unless the user gives it more
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(store, SharedPlace) or store.is_dir():
        return speed.machine(open_store(store), device)
    with TemporaryDirectory() as folder:
        return speed.machine(Store(Path(folder)), device)


def by_frozen_part(configs: Sequence[Config]) -> Mapping[FrozenPart, Sequence[Config]]:
    """Group configs by the frozen parts that they share.

    Pooling, PCA and everything that is trained come after a frozen part. Trials that augment
    images are left out: nothing is stored for them.
    """
    groups: dict[FrozenPart, list[Config]] = defaultdict(list)
    for config in configs:
        stored = [s for s in config.images if s.freeze_depth and config.augment is None]
        for stream in {replace(stream, pooling="none", pca_dim=None) for stream in stored}:
            groups[stream, config.clip].append(config)
    return groups


def storing_choices(
    groups: Mapping[FrozenPart, Sequence[Config]],
    machine: MachineSpeed,
    *,
    clips: int,
    folds: int,
    store: Path | SharedPlace,
) -> dict[FrozenPart, Choice]:
    """Choose for each frozen part whether its activations are stored."""
    free, choices = free_bytes(store), {}
    for (stream, clip), configs in groups.items():
        reads = Reads(
            clips=clips,
            frames=clip.frames,
            epochs=round(
                sum(config.optimizer.epochs_for(clips) for config in configs) / len(configs)
            ),
            folds=folds,
            trials=len(configs),
        )
        choices[stream, clip] = storing_rule.whether_to_store(
            stream, reads, machine, free_bytes=free
        )
    return choices


def study_duration(
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
    """Time some of the configs for a moment, and predict how long the study takes here.

    `cpus` is what each trial takes of this machine, which decides how many run at once.
    """
    training_clips = max(2, clips * (folds - 1) // folds)
    head_gib: list[float] = []

    def fold_seconds(config: Config) -> float:
        probed = timing.fold(
            config, tuple(classes), clips=training_clips, folds=folds, machine=machine
        )
        head_gib.extend([] if probed.head_gib is None else [probed.head_gib])
        return probed.fold_seconds

    duration = predict_duration(
        configs,
        fold_seconds,
        folds=folds,
        raced=raced,
        stage_seconds=stage_seconds,
        workers=max(1, torch.cuda.device_count() or int(machine_.allowed_cores() / cpus)),
    )
    gpu_gib = machine_.total_bytes() / 2**30 if torch.cuda.is_available() else None
    return replace(duration, head_gib=max(head_gib, default=None), gpu_gib=gpu_gib)


def feature_seconds(
    choices: Mapping[FrozenPart, Choice], machine: MachineSpeed, *, clips: int
) -> float:
    """Predict how long one worker takes to compute all activations that are stored.

    Several depths of one backbone are stored in a single pass, which takes as long as the deepest.
    """
    passes: dict[FrozenPart, float] = {}
    for (stream, clip), choice in choices.items():
        if not choice.store:
            continue
        units = clips if stream.is_volume else clips * clip.frames
        flops = profile(stream, clip.frames).flops(stream.freeze_depth)
        seconds = units * flops / machine.flops_of(stream)
        one_pass = replace(stream, freeze_depth=0, blocks=1), clip
        passes[one_pass] = max(seconds, passes.get(one_pass, 0.0))
    return sum(passes.values())


def missing_face_seconds(manifest: Manifest, engine: str, store: Path | SharedPlace) -> float:
    """Predict how long one worker takes to find the faces that the store does not have yet."""
    shards = faces_stage.shards(manifest, engine, find_faces.device_of(engine), Tally())
    opened_store = open_store(store)
    missing = sum(not opened_store.has(shard.stage, shard.key) for shard in shards)
    if not missing:
        return 0.0
    all_faces = forecast(
        manifest.clips,
        frames=count_frames(manifest.clips),
        engine=engine,
        workers=1,
        store=store,
    )
    return all_faces.seconds * missing / len(shards) if all_faces else 0.0
