"""One config in, one result out: the whole path from files to scores, without Ray.

`cross_validate` scores a config on the development subjects, fold by fold, and never reads a
sealed one. `open_sealed` refits it on all of them and scores the sealed subjects.
"""

import copy
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core import features, memory, reduce
from fer_core.config import Config
from fer_core.errors import DataError
from fer_core.evaluation.metrics import score
from fer_core.evaluation.uncertainty import uar_interval
from fer_core.evaluation.voting import vote
from fer_core.experiment import Experiment
from fer_core.faces import prepare, present
from fer_core.faces.surface import Surface, load
from fer_core.faces.views import resized
from fer_core.models import backbones
from fer_core.models.network import Network, feature_dim
from fer_core.models.pooling import pool
from fer_core.stages import Shard, Tally, Work, gather
from fer_core.store import Array, Entry, Store
from fer_core.training import loop


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """How one fold came out. N val clips, T frames each (1 where clips are seen whole)."""

    fold: int
    uar: float
    war: float
    macro_f1: float
    clips: tuple[str, ...]
    labels: Array  # (N,) int64
    probabilities: Array  # (N, K) float32, after voting
    frame_probabilities: Array  # (N, T, K) float32
    losses: tuple[float, ...]  # mean training loss of each epoch
    train_seconds: float
    params: int  # of the whole model, frozen part included
    peak_memory_gib: float  # of the trial so far
    device: str
    weights_source: str
    work: Work  # of the trial so far
    skipped: Mapping[str, str]  # clip: why it was left out


@dataclass(frozen=True, kw_only=True)
class SealedResult:
    """How a winner does on subjects that nothing was chosen by."""

    uar: float
    uar_low: float  # 95 % interval, bootstrap over subjects
    uar_high: float
    war: float
    macro_f1: float
    subjects: int
    clips: int
    clip_names: tuple[str, ...]
    labels: Array
    probabilities: Array


def cross_validate(config: Config, experiment: Experiment) -> Iterator[FoldResult]:
    """Yield the result of each fold in order; not asking for the next one stops the trial.

    Raises: FerError where the config cannot work on these data.
    """
    bench = _Bench(config, experiment)
    development = bench.rows(experiment.protocol.development)
    for fold, subjects in enumerate(experiment.protocol.folds):
        val = bench.rows(subjects)
        train = np.setdiff1d(development, val)
        yield bench.fold(fold, train, val)


def open_sealed(config: Config, experiment: Experiment) -> SealedResult:
    """Refit on all development subjects and score the sealed ones."""
    bench = _Bench(config, experiment)
    test = bench.rows(experiment.protocol.sealed)
    fitted = bench.fit_and_score(bench.rows(experiment.protocol.development), test, "sealed")
    probabilities, labels = vote(fitted.probabilities), bench.labels[test]
    metrics = score(labels, probabilities)
    subjects = [bench.subjects[row] for row in test]
    low, high = uar_interval(labels, probabilities, subjects, seed=experiment.seed)
    return SealedResult(
        uar=metrics.uar,
        uar_low=low,
        uar_high=high,
        war=metrics.war,
        macro_f1=metrics.macro_f1,
        subjects=len(set(subjects)),
        clips=len(test),
        clip_names=tuple(bench.clips[row] for row in test),
        labels=labels,
        probabilities=probabilities,
    )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    probabilities: Array  # (N, T, K)
    losses: tuple[float, ...]
    train_seconds: float
    params: int


class _Bench:
    """A config's stored activations, laid out for training."""

    def __init__(self, config: Config, experiment: Experiment) -> None:
        self.config, self.experiment = config, experiment
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        memory.reset_peak(self.device)
        self.store, self.tally = _store(experiment.store), Tally()
        stream = config.stream
        file = features.weights_file(stream, experiment.weights)
        self.backbone = backbones.build(stream, weights_file=file, seed=experiment.seed)
        views, entries = self._views()
        self.clips = tuple(clip for entry in entries for clip in entry.meta["clips"])
        self.skipped = {k: v for entry in entries for k, v in entry.meta["skipped"].items()}
        if not self.clips:
            reason = next(iter(self.skipped.values()), "it is empty")
            raise DataError(f"no clip of {experiment.manifest.root} can be used: {reason}")
        by_name = {clip.clip: clip for clip in experiment.manifest.clips}
        kept = [by_name[clip] for clip in self.clips]
        self.subjects = np.array([clip.subject for clip in kept])
        index = {name: i for i, name in enumerate(experiment.classes)}
        self.labels = np.array([index[experiment.label(clip)] for clip in kept], np.int64)
        shards = list(zip(views, entries, strict=True))
        self.lineage: list[str] = [shard.key for shard in views]
        if stream.freeze_depth:
            stored = features.shards(shards, stream, self.backbone, self.device, self.tally)
            activations = gather(self.store, stored, self.tally)
            self.lineage = [shard.key for shard in stored]
            self.stored = self._laid_out(entry.array for entry in activations)
        else:
            self.stored = self._laid_out(map(present.crops, entries))

    def _views(self) -> tuple[list[Shard], list[Entry]]:
        """Make the views, and the faces that they are made of.

        Raises: DataError where the view loses so many clips that its score would mislead.
        """
        experiment, view, device = self.experiment, self.config.stream.view, self.device.type
        faces = prepare.shards(experiment.manifest, experiment.landmarks, device, self.tally)
        found = list(zip(faces, gather(self.store, faces, self.tally), strict=True))
        window = experiment.clip or self.config.clip
        surface = _surface(experiment.surface) if experiment.surface else None
        shards = present.shards(found, window, view, surface, device)
        entries = gather(self.store, shards, self.tally)
        lost = sum(len(entry.meta["skipped"]) for entry in entries)
        lost -= sum(len(entry.meta["skipped"]) for _, entry in found)
        if lost > experiment.max_missing * len(experiment.manifest.clips):
            raise DataError(f"view '{view}' cannot show {lost} clips, over --max-missing.")
        return shards, entries

    def rows(self, subjects: Sequence[str]) -> Array:
        """Give the rows of these subjects' clips.

        Raises: DataError where none of them can be used.
        """
        rows = np.flatnonzero(np.isin(self.subjects, subjects))
        if not len(rows):
            raise DataError(f"no clip of subjects {', '.join(subjects)} can be used.")
        return rows

    def fold(self, fold: int, train: Array, val: Array) -> FoldResult:
        """Train on `train`, score on `val`."""
        fitted = self.fit_and_score(train, val, f"fold {fold}")
        labels, probabilities = self.labels[val], vote(fitted.probabilities)
        metrics = score(labels, probabilities)
        return FoldResult(
            fold=fold,
            uar=metrics.uar,
            war=metrics.war,
            macro_f1=metrics.macro_f1,
            clips=tuple(self.clips[row] for row in val),
            labels=labels,
            probabilities=probabilities,
            frame_probabilities=fitted.probabilities,
            losses=fitted.losses,
            train_seconds=fitted.train_seconds,
            params=fitted.params,
            peak_memory_gib=memory.peak_gib(self.device),
            device=_device_name(self.device),
            weights_source=self.backbone.source,
            work=self.tally.work,
            skipped=self.skipped,
        )

    def fit_and_score(self, train: Array, test: Array, name: str) -> _Fitted:
        """Fit everything that is fitted on `train` alone, and score `test`."""
        config = self.config
        inputs = self._inputs(train)
        started = time.perf_counter()
        seed = _seed(self.experiment.seed, config.config_id, name)
        torch.manual_seed(seed)
        suffix = copy.deepcopy(self.backbone.blocks[config.stream.freeze_depth :])
        suffix.to(self.device)
        dim = feature_dim(config, suffix, inputs(train[:1]))
        network = Network(config, suffix, dim, len(self.experiment.classes)).to(self.device)
        losses = loop.fit(network, inputs, self.labels, train, config.optimizer, seed=seed)
        fitted_losses = tuple(losses)
        scores = loop.predict(network, inputs, test, batch_clips=config.optimizer.batch_clips)
        prefix = self.backbone.blocks[: config.stream.freeze_depth]
        params = sum(p.numel() for part in (prefix, network) for p in part.parameters())
        return _Fitted(
            probabilities=scores,
            losses=fitted_losses,
            train_seconds=time.perf_counter() - started,
            params=params,
        )

    def _laid_out(self, arrays: Iterable[Array]) -> Array:
        """Join the shards: pooled features (N, T, D) float32, maps, or crops of the right size.

        One is mapped at a time: a large dataset has more than a process may keep open.
        """
        stream = self.config.stream
        filled = (array for array in arrays if len(array))
        if self.config.frozen:
            return np.concatenate([_pooled(array, stream.pooling) for array in filled])
        joined = np.concatenate([np.array(array) for array in filled])
        if stream.freeze_depth:
            return joined
        pixels = features.crop_pixels(stream, self.backbone)
        flat = resized(joined.reshape(-1, *joined.shape[2:]), pixels)
        return flat.reshape(*joined.shape[:2], pixels, pixels, 3)

    def _inputs(self, train: Array) -> loop.Batches:
        """Give the function from rows to the network's input, fitted on the rows `train`."""
        if self.config.frozen:
            reduction = self._reduction(train)
            reduced = torch.from_numpy(reduction(self.stored)).to(self.device)
            return lambda rows: reduced[torch.from_numpy(rows).to(self.device)]
        if self.config.stream.freeze_depth:
            return lambda rows: torch.from_numpy(self.stored[rows]).to(self.device).float()
        return self._preprocessed

    def _reduction(self, train: Array) -> reduce.Reduction:
        lineage = {
            "features": self.lineage,
            "pooling": self.config.stream.pooling,
            "clips": [self.clips[row] for row in train],
        }
        rows = self.stored[train].reshape(-1, self.stored.shape[-1])
        return reduce.fit(
            rows, self.config.pca_dim, store=self.store, lineage=lineage, tally=self.tally
        )

    def _preprocessed(self, rows: Array) -> Tensor:
        crops = self.stored[rows]  # (B, T, H, W, 3)
        images = features.images_to_tensor(crops.reshape(-1, *crops.shape[2:]), self.device)
        preprocess = self.backbone.preprocess.to(self.device)
        frames: Tensor
        if self.config.stream.backbone == "c3d":
            frames = images.reshape(*crops.shape[:2], *images.shape[1:])
            frames = preprocess(frames.transpose(1, 2))  # (B, C, T, H, W)
        else:
            frames = preprocess(images).reshape(*crops.shape[:2], *images.shape[1:])
        return frames


@cache
def _surface(path: str) -> Surface:
    return load(Path(path))


@cache
def _store(root: Path) -> Store:
    """Keep one store a process, which hashes each entry once."""
    return Store(root)


def _pooled(maps: Array, pooling: str) -> Array:
    flat = torch.from_numpy(maps.reshape(-1, *maps.shape[2:]).astype(np.float32))
    result: Array = pool(flat, pooling).numpy().reshape(*maps.shape[:2], -1)
    return result


def _seed(*parts: Any) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
