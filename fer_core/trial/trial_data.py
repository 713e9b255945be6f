"""Prepare the data of one trial, and turn the scores that it comes to into results.

`prepare_trial` gives a `TrialData`, which reads all streams of a config from the store. From it the
training (`pack.py`), the sealed test (`evaluate.py`) and the baselines (`baselines.py`) take the
clips of each fold, a network that is ready to be trained (`FoldFit`), and the results
(`FoldResult`, `SealedResult`) that the search writes down.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core import machine
from fer_core.arrays import Array
from fer_core.config import Config
from fer_core.data.manifest import Clip
from fer_core.data.study_data import StudyData
from fer_core.errors import ConfigError, DataError
from fer_core.features.context import TrialContext
from fer_core.features.encoders import Encoder
from fer_core.features.stream_inputs import open_stream
from fer_core.models.network import Network, count
from fer_core.scoring import score, vote
from fer_core.training import loop
from fer_core.training.checkpoint import Checkpoint
from fer_core.training.fits import Fit
from fer_core.trial import feasibility
from fer_core.trial.results import FoldResult, SealedResult

HELD_OUT = 0.2  # share of the training subjects that early stopping and plateau schedules watch
_WITHOUT = {"patience": "None", "schedule": "constant or cosine"}  # values that hold nobody out


def prepare_trial(config: Config, study_data: StudyData) -> "TrialData":
    """Prepare the data of a config, with the labels of the task that the config names.

    Raises: ConfigError, before anything is computed, where the config cannot work on the data.
    """
    study_data = replace(study_data, task=config.task or study_data.task)
    feasibility.check(config, study_data)
    return TrialData(config, study_data)


@dataclass(frozen=True, kw_only=True)
class FoldFit:
    """One fold of a trial, ready for training: the fit, and the fixed parts of the model.

    `scores` may be called before, during and after the training of the fit.
    """

    name: str  # "fold 0", ..., or "sealed" for the refit on all development subjects
    fit: Fit
    encoders: tuple[Encoder, ...]  # one for each stream: how its input is computed from pixels
    params: int  # parameters of the whole model, frozen ones included

    def scores(self, rows: Array) -> Array:
        """Score clips with the network as it is now, (N, T, K)."""
        clips = self.fit.config.batch_clips
        return loop.predict(self.fit.network, self.fit.batches, rows, batch_clips=clips)


class TrialData:
    """What one trial trains on: the inputs of its streams, and the labels and subjects of clips.

    A *row* is the number of a clip in `clips`; labels, subjects and batches are indexed by rows.
    """

    def __init__(self, config: Config, study_data: StudyData) -> None:
        self.config, self.study_data = config, study_data
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        machine.reset_peak(self.device)
        self.context = TrialContext(config, study_data, self.device)
        self.streams = [open_stream(stream, self.context) for stream in config.streams]
        self.skipped = {k: v for each in self.streams for k, v in each.skipped.items()}
        scored = self.context.scored_clips()
        usable = scored.intersection(*(each.clips for each in self.streams))
        self.clips = tuple(clip for clip in self.streams[0].clips if clip in usable)
        if not self.clips:
            reason = next(iter(self.skipped.values()), "it is empty")
            raise DataError(f"no clip of {study_data.manifest.root} can be used: {reason}")
        for each in self.streams:
            each.arrange(self.clips)
        by_name = {clip.clip: clip for clip in study_data.manifest.clips}
        kept = [by_name[clip] for clip in self.clips]
        self.subjects = np.array([clip.subject for clip in kept])
        self.labels = self._labels(kept)
        own = set(self.clips)
        # Clips that this trial cannot show: all trials are scored on the same clips.
        self.lost = [by_name[clip] for clip in by_name if clip in scored and clip not in own]
        fallbacks = own.intersection(clip for each in self.streams for clip in each.fallbacks)
        self.fallback_share = len(fallbacks) / len(own)
        self.checkpoints: list[Checkpoint] = []  # one for each fit that is trained alone

    def rows(self, subjects: Sequence[str]) -> Array:
        """Give the rows of these subjects' clips.

        Raises: DataError where none of them can be used.
        """
        rows = np.flatnonzero(np.isin(self.subjects, subjects))
        if not len(rows):
            raise DataError(f"no clip of subjects {', '.join(subjects)} can be used.")
        return rows

    def splits(self) -> Iterator[tuple[Array, Array]]:
        """Yield for each fold the rows to train on and the rows to score."""
        development = self.rows(self.study_data.protocol.development)
        for subjects in self.study_data.protocol.folds:
            val = self.rows(subjects)
            yield np.setdiff1d(development, val), val

    def result(
        self,
        fold: int,
        val: Array,
        scores: Array,
        *,
        losses: tuple[float, ...] = (),
        train_seconds: float,
        params: int,
        epochs_restored: int = 0,
        note: str = "",
    ) -> FoldResult:
        """Make the result of a fold from the frame scores (V, T, K) of its V rows `val`."""
        clips, subjects, labels, scores = self._with_lost(
            self.study_data.protocol.folds[fold], val, scores
        )
        probabilities = self.voted(scores)
        sources = dict.fromkeys(s.weights_source for s in self.streams if s.weights_source)
        return FoldResult(
            fold=fold,
            metrics=score(labels, probabilities),
            clips=clips,
            subjects=subjects,
            labels=labels,
            probabilities=probabilities,
            frame_probabilities=scores,
            losses=losses,
            train_seconds=train_seconds,
            params=params,
            peak_memory_gib=machine.peak_gib(self.device),
            device=_device_name(self.device),
            weights_source=" + ".join(sources) or "none",
            work=self.context.tally.work,
            skipped=self.skipped,
            fallback_share=self.fallback_share,
            epochs_restored=epochs_restored,
            note=note,
        )

    def sealed(self, test: Array, scores: Array) -> SealedResult:
        """Make the result of the sealed test from the frame scores (V, T, K) of its rows `test`."""
        clips, subjects, labels, scores = self._with_lost(
            self.study_data.protocol.sealed, test, scores
        )
        probabilities = self.voted(scores)
        return SealedResult(
            metrics=score(labels, probabilities),
            clips=clips,
            subjects=subjects,
            labels=labels,
            probabilities=probabilities,
        )

    def _with_lost(
        self, side: Sequence[str], rows: Array, scores: Array
    ) -> tuple[tuple[str, ...], Array, Array, Array]:
        """Append the clips of these subjects that this trial cannot show, with NaN as scores.

        Gives the clips, their subjects, their labels, and the frame scores (N, T, K).
        """
        people = set(side)
        lost = [clip for clip in self.lost if clip.subject in people]
        nothing = np.full((len(lost), *scores.shape[1:]), np.nan, scores.dtype)
        return (
            (*(self.clips[row] for row in rows), *(clip.clip for clip in lost)),
            np.array([*self.subjects[rows], *(clip.subject for clip in lost)]),
            np.concatenate([self.labels[rows], self._labels(lost)]),
            np.concatenate([scores, nothing]),
        )

    def _labels(self, clips: Sequence[Clip]) -> Array:
        """Give the numbers of the clips' classes."""
        index = {name: i for i, name in enumerate(self.study_data.classes)}
        return np.array([index[self.study_data.label(clip)] for clip in clips], np.int64)

    def voted(self, scores: Array) -> Array:
        """Turn frame scores (N, T, K) into clip scores (N, K)."""
        return vote(scores, self.config.rule)

    def begin(self, train: Array, name: str) -> FoldFit:
        """Fit scalers and PCA on the rows `train`, and make the network that will be trained.

        `name` is part of two seeds. That of the initial weights also depends on the config; that
        of the order of the batches and of the held-out subjects does not, so that all configs see
        the same clips in one order, and their scores differ only because of their choices.
        """
        config, classes, seed = self.config, self.study_data.classes, self.study_data.seed
        folds = [each.fit(train) for each in self.streams]
        own = _seed(seed, config.config_id, name)
        torch.manual_seed(own)
        network = Network(config, [each.stream_input for each in folds], classes).to(self.device)

        def batches(rows: Array, generator: np.random.Generator | None) -> list[Tensor]:
            if generator is None or config.augment is None:
                return [each.batch(rows, None) for each in folds]
            batch_seed = int(generator.integers(2**32))  # all streams of a clip are augmented alike
            return [each.batch(rows, np.random.default_rng(batch_seed)) for each in folds]

        order = _seed(seed, name)
        fitted, held_out = self._hold_out(train, order)
        fit = Fit(
            network=network,
            batches=batches,
            labels=self.labels,
            rows=fitted,
            config=replace(config.optimizer, epochs=config.optimizer.epochs_for(len(fitted))),
            seed=own,
            order=order,
            data=self._data(),
            held_out=held_out,
        )
        return FoldFit(
            name=name,
            fit=fit,
            encoders=tuple(each.encoder for each in folds),
            params=count([network, *(each.stored_blocks for each in folds)]),
        )

    def checkpoint(self, fold_fit: FoldFit) -> Checkpoint | None:
        """Make the checkpoint of a fit; None where the study keeps no checkpoints."""
        folder, config, fit = self.study_data.checkpoints, self.config, fold_fit.fit
        if folder is None:
            return None
        file = f"{config.config_id}-{fold_fit.name.replace(' ', '')}-{self.study_data.seed}.ckpt"
        last = self.checkpoints[-1].write_seconds if self.checkpoints else 0.0
        made_of = self._made_of(fit) | {"config": config.to_json(), "fit": fold_fit.name}
        checkpoint = Checkpoint(folder / file, made_of, write_seconds=last)
        self.checkpoints.append(checkpoint)
        return checkpoint

    def _made_of(self, fit: Fit) -> dict[str, Any]:
        """Name everything that the training of a fit depends on, except its config.

        A checkpoint is only restored where all of this is equal.
        """
        used, study_data = set(self.clips), self.study_data
        values = fit.network.state_dict().items()
        return {
            "clips": [
                (c.sha256, c.landmarks_sha256) for c in study_data.manifest.clips if c.clip in used
            ],
            "labels": self.labels.tolist(),
            "rows": [fit.rows.tolist(), [] if fit.held_out is None else fit.held_out.tolist()],
            "split": study_data.protocol.split_sha256,
            "read": [fit.data, study_data.landmarks, study_data.surface, dict(study_data.weights)],
            "weights": [each.weights_source for each in self.streams],
            "seeds": [fit.seed, fit.order],
            "shapes": [(name, list(value.shape), str(value.dtype)) for name, value in values],
            "device": self.device.type,
        }

    def _data(self) -> str:
        """Name the contents of the batches: the streams, as this config reads them."""
        streams = [asdict(stream) for stream in self.config.streams]
        return json.dumps([self.study_data.task, asdict(self.context.window), streams])

    def _hold_out(self, train: Array, seed: int) -> tuple[Array, Array | None]:
        """Hold out the rows of a few training subjects, where the optimizer watches their loss.

        The subjects that a fold is scored on must not decide when its training ends or its rate
        falls.
        """
        field = self.config.optimizer.holds_out
        if field is None:
            return train, None
        subjects = np.random.default_rng(seed).permutation(np.unique(self.subjects[train]))
        chosen = np.isin(self.subjects[train], subjects[: max(1, round(HELD_OUT * len(subjects)))])
        if chosen.all():
            value, other = getattr(self.config.optimizer, field), _WITHOUT[field]
            raise ConfigError(
                f"optimizer.{field} is {value!r}; it must be {other} where there is one training "
                "subject, since it watches the loss of others than those it is fitted on."
            )
        return train[~chosen], train[chosen]


def _seed(*parts: Any) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
