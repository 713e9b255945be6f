"""The training of folds: each fold of a config is a fit, and equal fits train together.

A `Member` is a config of a pack with what it has come to, a `FoldTraining` is one of its folds, and
a `FoldGroup` is a group of folds that train together, from one config or from several. `pack.py`
makes them and brings them from rung to rung. An error here always belongs to one member: its trial
fails, and the others go on.
"""

import math
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TypeVar

import torch

from fer_core import machine
from fer_core.arrays import Array
from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.errors import keep_traceback_as_note
from fer_core.storage import memory_cache
from fer_core.storage.store import Store
from fer_core.training.fits import Group, OneFit
from fer_core.training.improving import is_improving, next_cycle
from fer_core.training.loop import DivergedError
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.stack import grouped, is_large
from fer_core.trial.packing import pack_key, stackable
from fer_core.trial.results import FoldResult
from fer_core.trial.trial_data import FoldFit, TrialData, prepare_trial

T = TypeVar("T")


@dataclass(eq=False)
class Member:
    """A config of a pack: its data, the results of its folds so far, and why it failed, if so."""

    position: int  # among the configs of the pack
    config: Config
    trial_data: TrialData | None = None
    splits: list[tuple[Array, Array]] = field(default_factory=list)  # rows to train on, to score
    results: dict[int, FoldResult] = field(default_factory=dict)  # by fold
    error: Exception | None = None
    _started: set[int] = field(default_factory=set)  # folds

    def prepare(self, study_data: StudyData) -> None:
        """Read the config's data from the store."""
        trial_data = self.attempt(lambda: prepare_trial(self.config, study_data))
        if trial_data is not None:
            self.trial_data = trial_data
            self.splits = self.attempt(lambda: list(trial_data.splits())) or []

    def start(self, fold: int) -> "FoldTraining | None":
        """Make the network of a fold; None if the fold was started before or the member failed."""
        if fold in self._started or self.error is not None:
            return None
        assert self.trial_data is not None
        trial_data, train = self.trial_data, self.splits[fold][0]
        self._started.add(fold)
        return self.attempt(
            lambda: FoldTraining(self, fold, trial_data.begin(train, f"fold {fold}"))
        )

    def attempt(self, action: Callable[[], T]) -> T | None:
        """Call `action`; if it raises, keep the error as this member's and return None."""
        try:
            return action()
        except Exception as error:  # a trial may fail in any way, and the pack goes on
            self.fail(error)
            return None

    def fail(self, error: Exception) -> None:
        """Keep why the member failed, and free what the error's traceback keeps alive."""
        keep_traceback_as_note(error)
        self.error = error

    def remove_checkpoints(self) -> None:
        """Delete the checkpoints of its folds, which are of no more use."""
        if self.trial_data is not None:
            for checkpoint in self.trial_data.checkpoints:
                checkpoint.remove()


@dataclass(eq=False)
class FoldTraining:
    """One fold of a member in training: its network, its losses so far and the time it took."""

    member: Member
    fold: int
    fold_fit: FoldFit
    losses: list[float] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)  # epochs of its config, then those added
    seconds: float = 0.0
    alone: OneFit | None = None  # its training, if it trains alone and has a checkpoint

    def __post_init__(self) -> None:
        self.cycles.append(self.fold_fit.fit.config.epochs)

    @property
    def still_improving(self) -> bool:
        """Whether it has had all its epochs, and its loss is still falling."""
        return is_improving(self.losses, self.cycles, self.fold_fit.fit.config.schedule)

    @property
    def next_cycle(self) -> int:
        """The epochs by which it goes on; 0 where it does not, as where the config fixes them."""
        by_updates = self.fold_fit.fit.config.updates is not None
        return next_cycle(self.cycles) if by_updates and self.still_improving else 0

    @property
    def shape(self) -> Hashable:
        """What must be equal for folds to train as one stack."""
        fit = self.fold_fit.fit
        shapes = tuple(value.shape for value in fit.network.parameters())
        batches = fit.config.batches(len(fit.rows))
        return pack_key(self.member.config), batches, shapes

    @property
    def stacks(self) -> bool:
        """Whether it may train in a stack with others."""
        return stackable(self.member.config) and not is_large(self.fold_fit.fit.network)

    def start_again(self, share: float) -> "list[FoldGroup]":
        """Make the network anew, and train it alone up to this share of its epochs."""
        member, train = self.member, self.member.splits[self.fold][0]
        trial_data = member.trial_data
        assert trial_data is not None
        fold_fit = member.attempt(lambda: trial_data.begin(train, f"fold {self.fold}"))
        if fold_fit is None:
            return []
        return FoldGroup([FoldTraining(member, self.fold, fold_fit)]).advance(share)

    def score(self) -> None:
        """Score the fold with the network as it is now, and keep the result."""
        trial_data, alone, val = (
            self.member.trial_data,
            self.alone,
            self.member.splits[self.fold][1],
        )
        assert trial_data is not None
        scores = partial(self.fold_fit.scores, val)
        result = trial_data.result(
            self.fold,
            val,
            scores() if alone is None else alone.scored(scores),
            losses=tuple(self.losses),
            train_seconds=self.seconds,
            params=self.fold_fit.params,
            epochs_restored=0 if alone is None else alone.restored,
        )
        self.member.results[self.fold] = replace(
            result, still_improving=self.still_improving, extended=len(self.cycles) > 1
        )


class FoldGroup:
    """Folds that train together, epoch by epoch, for the same number of epochs."""

    def __init__(self, folds: Sequence[FoldTraining]) -> None:
        self._folds = list(folds)
        self._group: Group | None = None
        self._epochs, self._done = folds[0].fold_fit.fit.config.epochs, 0
        self._since = 0.0  # up to when the folds were charged with time

    @property
    def unfinished(self) -> bool:
        return bool(self._folds) and self._done < self._epochs

    def advance(self, share: float) -> "list[FoldGroup]":
        """Train up to this share of the epochs, and give the groups to go on with.

        With the whole share, folds that are still improving at their end are trained on.

        That is this group itself; or, if it is a stack that broke, for example because memory was
        short, a new group for each of its folds, which has trained up to the same share alone.
        """
        self._since = time.perf_counter()
        error = self._train_up_to(share)
        if error is not None and len(self._folds) > 1:
            # What filled the memory hangs on the error and on the group: both go before the retry.
            folds, self._folds, self._group, error = self._folds, [], None, None
            memory_cache.process().give_up_device()
            machine.free_device_memory()
            return [each for fold in folds for each in fold.start_again(share)]
        if error is not None:
            self._folds[0].member.fail(error)
            self.keep_only(())
        self._charge()
        return [self]

    def _train_up_to(self, share: float) -> Exception | None:
        """Train up to this share of the epochs, and return the error that ended it, if any."""
        try:
            group = self._group = self._group or self._grouped()
            while self.unfinished and self._done < math.ceil(self._epochs * share):
                self._epoch(group)
            if not self.unfinished:
                self._go_on(group)
            group.make_ready()
        except Exception as error:
            return error
        return None

    def score(self) -> None:
        """Score all folds of the group."""
        for each in self._folds:
            each.member.attempt(each.score)
        self._drop_failed()

    def keep_only(self, members: Collection[Member]) -> None:
        """Drop the folds of all other members."""
        self._keep([each for each in self._folds if each.member in members])

    def _keep(self, folds: Sequence[FoldTraining]) -> None:
        if self._group is not None:
            self._group.drop({i for i, each in enumerate(self._folds) if each not in folds})
        self._folds = list(folds)

    def _go_on(self, group: Group) -> None:
        """Train on all folds that are still improving, after the others were scored and dropped."""
        while improving := [each for each in self._folds if each.next_cycle]:
            group.make_ready()
            self._charge()
            for each in self._folds:
                if each not in improving:
                    each.member.attempt(each.score)
            self._keep(improving)
            epochs = improving[0].next_cycle
            self._epochs += epochs
            group.extend(epochs)
            for each in improving:
                each.cycles.append(epochs)
            while self.unfinished:
                self._epoch(group)

    def _charge(self) -> None:
        """Divide the time since the last call among the folds."""
        now = time.perf_counter()
        for each in self._folds:
            each.seconds += (now - self._since) / len(self._folds)
        self._since = now

    def _grouped(self) -> Group:
        first = self._folds[0]
        trial_data = first.member.trial_data
        assert trial_data is not None
        if len(self._folds) == 1 and not first.stacks:
            first.alone = OneFit(first.fold_fit.fit, trial_data.checkpoint(first.fold_fit))
            first.seconds = first.alone.seconds
            return first.alone
        widths = _widths(trial_data.context.store, trial_data.device)
        return grouped([each.fold_fit.fit for each in self._folds], widths)

    def _epoch(self, group: Group) -> None:
        losses = group.epoch()
        self._done = self._done + 1 if losses else self._epochs  # no losses: it stopped early
        for each, loss in zip(self._folds, losses, strict=bool(losses)):
            each.losses.append(loss)
            if not math.isfinite(loss):
                each.member.error = DivergedError(
                    f"the loss is {loss} after epoch {self._done}; lower optimizer.lr."
                )
        self._drop_failed()

    def _drop_failed(self) -> None:
        self.keep_only([each.member for each in self._folds if each.member.error is None])


@cache
def _widths(store: Store, device: torch.device) -> Widths:
    return Widths(store, device)
