"""One config in, one result out: the whole path from files to scores, without Ray.

`cross_validate` scores a config on the development subjects, fold by fold, and never reads a
sealed one. `open_sealed` refits it on all of them and scores the sealed subjects.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core import feasible, memory
from fer_core.config import Config
from fer_core.errors import ConfigError, DataError
from fer_core.evaluation.metrics import score
from fer_core.evaluation.uncertainty import uar_interval
from fer_core.evaluation.voting import vote
from fer_core.experiment import Experiment
from fer_core.export import Model
from fer_core.faces.surface import load
from fer_core.models.network import Network, count
from fer_core.setting import Setting
from fer_core.sources import Encoder, source
from fer_core.stages import Work
from fer_core.store import Array
from fer_core.training import loop

HELD = 0.2  # of the training subjects, where early stopping watches some


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
    bench = opened(config, experiment)
    for fold, (train, val) in enumerate(bench.splits()):
        yield bench.fold(fold, train, val)


def open_sealed(config: Config, experiment: Experiment) -> SealedResult:
    """Refit on all development subjects and score the sealed ones."""
    bench = opened(config, experiment)
    test = bench.rows(experiment.protocol.sealed)
    _, scores = bench.fit_and_score(bench.rows(experiment.protocol.development), test, "sealed")
    return bench.sealed(test, scores)


def refit(config: Config, experiment: Experiment) -> Model:
    """Fit on all development subjects, as `open_sealed` does, and give the whole model."""
    bench = opened(config, experiment)
    fitted = bench.fit(bench.rows(experiment.protocol.development), "sealed")
    setting, surface = bench.setting, experiment.surface
    return Model(
        config=config,
        task=bench.experiment.task,
        classes=bench.experiment.classes,
        encoders=fitted.encoders,
        network=fitted.network.cpu(),
        clip=setting.window,
        frame_seconds=setting.frame_seconds(),
        landmarks=experiment.landmarks,
        surface=load(Path(surface)) if surface else None,
    )


def opened(config: Config, experiment: Experiment) -> "Bench":
    """Lay out a config's data, in the task that it names.

    Raises: ConfigError, before anything is computed, where the config cannot work on them.
    """
    experiment = replace(experiment, task=config.task or experiment.task)
    feasible.check(config, experiment)
    return Bench(config, experiment)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model fitted on some rows."""

    encoders: tuple[Encoder, ...]
    network: Network
    losses: tuple[float, ...]
    train_seconds: float
    params: int  # of the whole model, frozen part included


class Bench:
    """A config's stored activations, laid out for training."""

    def __init__(self, config: Config, experiment: Experiment) -> None:
        self.config, self.experiment = config, experiment
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        memory.reset_peak(self.device)
        self.setting = Setting(config, experiment, self.device)
        self.sources = [source(stream, self.setting) for stream in config.streams]
        self.skipped = {k: v for each in self.sources for k, v in each.skipped.items()}
        usable = set.intersection(*(set(each.clips) for each in self.sources))
        self.clips = tuple(clip for clip in self.sources[0].clips if clip in usable)
        if not self.clips:
            reason = next(iter(self.skipped.values()), "it is empty")
            raise DataError(f"no clip of {experiment.manifest.root} can be used: {reason}")
        for each in self.sources:
            each.arrange(self.clips)
        by_name = {clip.clip: clip for clip in experiment.manifest.clips}
        kept = [by_name[clip] for clip in self.clips]
        self.subjects = np.array([clip.subject for clip in kept])
        index = {name: i for i, name in enumerate(experiment.classes)}
        self.labels = np.array([index[experiment.label(clip)] for clip in kept], np.int64)

    def rows(self, subjects: Sequence[str]) -> Array:
        """Give the rows of these subjects' clips.

        Raises: DataError where none of them can be used.
        """
        rows = np.flatnonzero(np.isin(self.subjects, subjects))
        if not len(rows):
            raise DataError(f"no clip of subjects {', '.join(subjects)} can be used.")
        return rows

    def splits(self) -> Iterator[tuple[Array, Array]]:
        """Give the rows that train and those that are scored, of each fold."""
        development = self.rows(self.experiment.protocol.development)
        for subjects in self.experiment.protocol.folds:
            val = self.rows(subjects)
            yield np.setdiff1d(development, val), val

    def fold(self, fold: int, train: Array, val: Array) -> FoldResult:
        """Train on `train`, score on `val`."""
        fitted, scores = self.fit_and_score(train, val, f"fold {fold}")
        return self.result(
            fold,
            val,
            scores,
            losses=fitted.losses,
            train_seconds=fitted.train_seconds,
            params=fitted.params,
        )

    def result(
        self,
        fold: int,
        val: Array,
        scores: Array,
        *,
        losses: tuple[float, ...] = (),
        train_seconds: float,
        params: int,
    ) -> FoldResult:
        """Sum up a fold whose clips `val` were given the frame scores (N, T, K)."""
        labels, probabilities = self.labels[val], self.voted(scores)
        metrics = score(labels, probabilities)
        sources = dict.fromkeys(s.weights_source for s in self.sources if s.weights_source)
        return FoldResult(
            fold=fold,
            uar=metrics.uar,
            war=metrics.war,
            macro_f1=metrics.macro_f1,
            clips=tuple(self.clips[row] for row in val),
            labels=labels,
            probabilities=probabilities,
            frame_probabilities=scores,
            losses=losses,
            train_seconds=train_seconds,
            params=params,
            peak_memory_gib=memory.peak_gib(self.device),
            device=_device_name(self.device),
            weights_source=" + ".join(sources) or "none",
            work=self.setting.tally.work,
            skipped=self.skipped,
        )

    def sealed(self, test: Array, scores: Array) -> SealedResult:
        """Sum up the sealed clips `test`, which were given the frame scores (N, T, K)."""
        labels, probabilities = self.labels[test], self.voted(scores)
        metrics = score(labels, probabilities)
        subjects = [self.subjects[row] for row in test]
        low, high = uar_interval(labels, probabilities, subjects, seed=self.experiment.seed)
        return SealedResult(
            uar=metrics.uar,
            uar_low=low,
            uar_high=high,
            war=metrics.war,
            macro_f1=metrics.macro_f1,
            subjects=len(set(subjects)),
            clips=len(test),
            clip_names=tuple(self.clips[row] for row in test),
            labels=labels,
            probabilities=probabilities,
        )

    def fit_and_score(self, train: Array, test: Array, name: str) -> tuple[Fitted, Array]:
        """Fit everything that is fitted on `train` alone, and score `test`, (N, T, K)."""
        fitted, batches = self._fit(train, name)
        clips = self.config.optimizer.batch_clips
        return fitted, loop.predict(fitted.network, batches, test, batch_clips=clips)

    def fit(self, train: Array, name: str) -> Fitted:
        """Fit on the rows `train`; `name` seeds it apart from the folds."""
        return self._fit(train, name)[0]

    def voted(self, scores: Array) -> Array:
        """Turn frame scores (N, T, K) into clip scores (N, K)."""
        return vote(scores, self.config.rule)

    def _fit(self, train: Array, name: str) -> tuple[Fitted, loop.Batches]:
        config, classes = self.config, self.experiment.classes
        folds = [each.fit(train) for each in self.sources]
        started = time.perf_counter()
        seed = _seed(self.experiment.seed, config.config_id, name)
        torch.manual_seed(seed)
        network = Network(config, [each.given for each in folds], classes).to(self.device)

        def batches(rows: Array, generator: np.random.Generator | None) -> list[Tensor]:
            if generator is None or config.augment is None:
                return [each.batch(rows, None) for each in folds]
            drawn = int(generator.integers(2**32))  # all streams of a clip change alike
            return [each.batch(rows, np.random.default_rng(drawn)) for each in folds]

        fitted, held = self._held(train, seed)
        losses = loop.fit(
            network, batches, self.labels, fitted, config.optimizer, seed=seed, held=held
        )
        model = Fitted(
            encoders=tuple(each.encoder for each in folds),
            network=network,
            losses=tuple(losses),
            train_seconds=time.perf_counter() - started,
            params=count([network, *(each.stored_blocks for each in folds)]),
        )
        return model, batches

    def _held(self, train: Array, seed: int) -> tuple[Array, Array | None]:
        """Part the rows of a few subjects from others, for early stopping to watch.

        They are training subjects: those that a fold is scored on must not end its training.
        """
        if self.config.optimizer.patience is None:
            return train, None
        subjects = np.random.default_rng(seed).permutation(np.unique(self.subjects[train]))
        chosen = np.isin(self.subjects[train], subjects[: max(1, round(HELD * len(subjects)))])
        if chosen.all():
            raise ConfigError("optimizer.patience needs two training subjects; set it to None.")
        return train[~chosen], train[chosen]


def _seed(*parts: Any) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
