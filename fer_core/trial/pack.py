"""Trials that race: packs of configs train together, fold by fold, and may leave at each rung.

Without Ray. Whoever loops over `run` says who leaves; configs whose trainable parts have one shape
train as one stack, and so do the folds of a config.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import torch

from fer_core.arrays import Array
from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.errors import keep_traceback_as_note
from fer_core.models.network import count
from fer_core.storage.store import Store
from fer_core.training.fits import Group, OneFit
from fer_core.training.loop import DivergedError, batch_count
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.stack import grouped, is_large
from fer_core.trial.packing import pack_key, stackable
from fer_core.trial.rungs import Rung, rungs
from fer_core.trial.trial_data import FoldFit, FoldResult, TrialData, prepare_trial

T = TypeVar("T")
STACKED = 16_000_000  # parameters of a stack: with gradients and moments a third of a GB


@dataclass(frozen=True, kw_only=True)
class AtRung:
    """How a member of a pack stands at a rung."""

    member: int  # its place among the configs
    results: tuple[FoldResult, ...]  # of each fold that it has begun, in order
    error: Exception | None = None  # why it has left


def run(
    configs: Sequence[Config], study_data: StudyData, *, raced: bool
) -> Generator[list[AtRung], Collection[int], None]:
    """Train configs as far as each rung, and yield how those stand that are still in.

    Sent are the places of those that leave. A config that fails leaves with its error, and the
    others go on. Not raced, there is one rung: all folds. What came at a rung should be written
    down before the next is asked for, or the race closed: then checkpoints that ended are removed.
    """
    members = [_Member(place, config) for place, config in enumerate(configs)]
    for member in members:
        member.open(study_data)
    trainings: list[_Training] = []
    course = rungs(len(study_data.protocol.folds), raced=raced)
    for rung in course:
        trainings = _advanced(members, trainings, rung)
        leaving, answered = set[int](), False
        try:
            leaving.update((yield [member.at_rung() for member in members]) or ())
            answered = True
        finally:  # closed at an earlier rung, or by an error, a race may go on elsewhere
            for member in members:
                ended = member.error is not None or member.place in leaving
                if (ended and answered) or (rung is course[-1] and member.error is None):
                    member.forget()
        members = [m for m in members if m.error is None and m.place not in leaving]
        for training in trainings:
            training.drop(members)
        if not members:
            return


def train(trial_data: TrialData, fold_fit: FoldFit) -> None:
    """Train one fit to its end.

    Raises: DivergedError where its loss is no longer finite.
    """
    member = _Member(0, trial_data.config, trial_data=trial_data)
    _Training([_FoldTraining(member, 0, fold_fit)]).advance(1.0)
    member.forget()
    if member.error is not None:
        raise member.error


@dataclass(eq=False)
class _Member:
    """A config of the pack."""

    place: int
    config: Config
    trial_data: TrialData | None = None
    splits: list[tuple[Array, Array]] = field(default_factory=list)
    results: dict[int, FoldResult] = field(default_factory=dict)
    error: Exception | None = None
    _begun: set[int] = field(default_factory=set)

    def open(self, study_data: StudyData) -> None:
        trial_data = self.tried(lambda: prepare_trial(self.config, study_data))
        if trial_data is not None:
            self.trial_data, self.splits = (
                trial_data,
                self.tried(lambda: list(trial_data.splits())) or [],
            )

    def begin(self, fold: int) -> "_FoldTraining | None":
        """Begin a fold, unless it was begun before or the member has failed."""
        if fold in self._begun or self.error is not None:
            return None
        assert self.trial_data is not None
        trial_data, train = self.trial_data, self.splits[fold][0]
        self._begun.add(fold)
        return self.tried(
            lambda: _FoldTraining(self, fold, trial_data.begin(train, f"fold {fold}"))
        )

    def tried(self, action: Callable[[], T]) -> T | None:
        """Let an error be this member's: a trial may fail in any way, and the pack goes on."""
        try:
            return action()
        except Exception as error:
            self.error = error
            return None

    def forget(self) -> None:
        """Remove its checkpoints."""
        if self.trial_data is not None:
            for checkpoint in self.trial_data.checkpoints:
                checkpoint.remove()

    def at_rung(self) -> AtRung:
        keep_traceback_as_note(self.error)
        results = tuple(self.results[fold] for fold in sorted(self.results))
        return AtRung(member=self.place, results=results, error=self.error)


@dataclass(eq=False)
class _FoldTraining:
    """A fold of a member."""

    member: _Member
    fold: int
    fold_fit: FoldFit
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    alone: OneFit | None = None  # its training, where that has checkpoints

    @property
    def shape(self) -> Hashable:
        """What runs have in common that train as one stack."""
        fit = self.fold_fit.fit
        shapes = tuple(value.shape for value in fit.network.parameters())
        batches = batch_count(len(fit.rows), fit.config.batch_clips)
        return pack_key(self.member.config), batches, shapes

    @property
    def stacks(self) -> bool:
        """Whether it may train with others."""
        return stackable(self.member.config) and not is_large(self.fold_fit.fit.network)

    def again(self, share: float) -> "list[_Training]":
        """Begin anew, and train alone as far."""
        member, train = self.member, self.member.splits[self.fold][0]
        trial_data = member.trial_data
        assert trial_data is not None
        fold_fit = member.tried(lambda: trial_data.begin(train, f"fold {self.fold}"))
        if fold_fit is None:
            return []
        return _Training([_FoldTraining(member, self.fold, fold_fit)]).advance(share)

    def score(self) -> None:
        """Score the fold as far as it is trained."""
        trial_data, alone, val = (
            self.member.trial_data,
            self.alone,
            self.member.splits[self.fold][1],
        )
        assert trial_data is not None
        scores = partial(self.fold_fit.scores, val)
        self.member.results[self.fold] = trial_data.result(
            self.fold,
            val,
            scores() if alone is None else alone.scored(scores),
            losses=tuple(self.losses),
            train_seconds=self.seconds,
            params=self.fold_fit.params,
            epochs_restored=0 if alone is None else alone.restored,
        )


class _Training:
    """Runs that train together."""

    def __init__(self, runs: Sequence[_FoldTraining]) -> None:
        self._runs = list(runs)
        self._group: Group | None = None
        self._epochs, self._done = runs[0].member.config.optimizer.epochs, 0

    @property
    def unfinished(self) -> bool:
        return bool(self._runs) and self._done < self._epochs

    def advance(self, share: float) -> "list[_Training]":
        """Train up to this share of the epochs, and give what goes on: itself.

        A stack that breaks, as where memory is short, is trained again one by one.
        """
        started = time.perf_counter()
        try:
            group = self._group = self._group or self._grouped()
            while self.unfinished and self._done < math.ceil(self._epochs * share):
                self._epoch(group)
            group.settle()
        except Exception as error:
            if len(self._runs) > 1:
                return [each for run in self._runs for each in run.again(share)]
            self._runs[0].member.error = error
            self.drop(())
        seconds = time.perf_counter() - started
        for each in self._runs:
            each.seconds += seconds / len(self._runs)
        return [self]

    def score(self) -> None:
        """Score the runs that are still in."""
        for each in self._runs:
            each.member.tried(each.score)
        self._drop_failed()

    def drop(self, staying: Collection[_Member]) -> None:
        """Let the runs of all other members leave."""
        places = {i for i, each in enumerate(self._runs) if each.member not in staying}
        if self._group is not None:
            self._group.drop(places)
        self._runs = [each for i, each in enumerate(self._runs) if i not in places]

    def _grouped(self) -> Group:
        first = self._runs[0]
        trial_data = first.member.trial_data
        assert trial_data is not None
        if len(self._runs) == 1 and not first.stacks:
            first.alone = OneFit(first.fold_fit.fit, trial_data.checkpoint(first.fold_fit))
            first.seconds = first.alone.seconds
            return first.alone
        widths = _widths(trial_data.context.store, trial_data.device)
        return grouped([each.fold_fit.fit for each in self._runs], widths)

    def _epoch(self, group: Group) -> None:
        losses = group.epoch()
        self._done = self._done + 1 if losses else self._epochs  # stopped early
        for each, loss in zip(self._runs, losses, strict=bool(losses)):
            each.losses.append(loss)
            if not math.isfinite(loss):
                each.member.error = DivergedError(
                    f"the loss is {loss} after epoch {self._done}; lower optimizer.lr."
                )
        self._drop_failed()

    def _drop_failed(self) -> None:
        self.drop([each.member for each in self._runs if each.member.error is None])


def _advanced(
    members: Sequence[_Member], trainings: Iterable[_Training], rung: Rung
) -> list[_Training]:
    """Bring all members to a rung; give what is not trained to its end."""
    unfinished = []
    for due in _due(members, trainings, rung):
        for training in due.advance(rung.epochs):
            training.score()
            if training.unfinished:
                unfinished.append(training)
    return unfinished


def _due(
    members: Sequence[_Member], trainings: Iterable[_Training], rung: Rung
) -> Iterator[_Training]:
    """Give what goes on, then what is large, one by one as its memory allows, then stacks."""
    yield from trainings
    waiting: dict[Hashable, list[_FoldTraining]] = defaultdict(list)
    for member in members:
        for fold in rung.folds:
            run = member.begin(fold)
            if run is not None and run.stacks:
                waiting[run.shape].append(run)
            elif run is not None:
                yield _Training([run])
    for waiting_runs in waiting.values():
        runs = [run for run in waiting_runs if run.member.error is None]
        if not runs:
            continue
        size = max(1, STACKED // count([runs[0].fold_fit.fit.network]))
        for start in range(0, len(runs), size):
            yield _Training(runs[start : start + size])


@cache
def _widths(store: Store, device: torch.device) -> Widths:
    return Widths(store, device)
