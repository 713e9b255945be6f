"""Trials that race: packs of configs train together, fold by fold, and may leave at each rung.

Without Ray. Whoever loops over `run` says who leaves; configs whose trainable parts have one shape
train as one stack, and so do the folds of a config.
"""

import math
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import torch

from fer_core.bench import Begun, Bench, FoldResult, opened
from fer_core.config import Config
from fer_core.experiment import Experiment
from fer_core.models.network import count
from fer_core.packs import Rung, pack_key, rungs, stackable
from fer_core.store import Array, Store
from fer_core.training.fits import Alone, Group
from fer_core.training.loop import DivergedError, batch_count
from fer_core.training.stack import grouped, is_large
from fer_core.training.widths import Widths

T = TypeVar("T")
STACKED = 16_000_000  # parameters of a stack: with gradients and moments a third of a GB


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a member of a pack stands at a rung."""

    member: int  # its place among the configs
    results: tuple[FoldResult, ...]  # of each fold that it has begun, in order
    error: Exception | None = None  # why it has left


def run(
    configs: Sequence[Config], experiment: Experiment, *, raced: bool
) -> Generator[list[Standing], Collection[int], None]:
    """Train configs as far as each rung, and yield how those stand that are still in.

    Sent are the places of those that leave. A config that fails leaves with its error, and the
    others go on. Not raced, there is one rung: all folds. What came at a rung should be written
    down before the next is asked for, or the race closed: then checkpoints that ended are removed.
    """
    members = [_Member(place, config) for place, config in enumerate(configs)]
    for member in members:
        member.open(experiment)
    trainings: list[_Training] = []
    course = rungs(len(experiment.protocol.folds), raced=raced)
    for rung in course:
        trainings = _advanced(members, trainings, rung)
        leaving, answered = set[int](), False
        try:
            leaving.update((yield [member.standing() for member in members]) or ())
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


def train(bench: Bench, begun: Begun) -> None:
    """Train one fit to its end.

    Raises: DivergedError where its loss is no longer finite.
    """
    member = _Member(0, bench.config, bench=bench)
    _Training([_Run(member, 0, begun)]).advance(1.0)
    member.forget()
    if member.error is not None:
        raise member.error


@dataclass(eq=False)
class _Member:
    """A config of the pack."""

    place: int
    config: Config
    bench: Bench | None = None
    splits: list[tuple[Array, Array]] = field(default_factory=list)
    results: dict[int, FoldResult] = field(default_factory=dict)
    error: Exception | None = None
    _begun: set[int] = field(default_factory=set)

    def open(self, experiment: Experiment) -> None:
        bench = self.tried(lambda: opened(self.config, experiment))
        if bench is not None:
            self.bench, self.splits = bench, self.tried(lambda: list(bench.splits())) or []

    def begin(self, fold: int) -> "_Run | None":
        """Begin a fold, unless it was begun before or the member has failed."""
        if fold in self._begun or self.error is not None:
            return None
        assert self.bench is not None
        bench, train = self.bench, self.splits[fold][0]
        self._begun.add(fold)
        return self.tried(lambda: _Run(self, fold, bench.begin(train, f"fold {fold}")))

    def tried(self, action: Callable[[], T]) -> T | None:
        """Let an error be this member's: a trial may fail in any way, and the pack goes on."""
        try:
            return action()
        except Exception as error:
            self.error = error
            return None

    def forget(self) -> None:
        """Remove its checkpoints."""
        if self.bench is not None:
            for checkpoint in self.bench.checkpoints:
                checkpoint.remove()

    def standing(self) -> Standing:
        _let_go(self.error)
        results = tuple(self.results[fold] for fold in sorted(self.results))
        return Standing(member=self.place, results=results, error=self.error)


@dataclass(eq=False)
class _Run:
    """A fold of a member."""

    member: _Member
    fold: int
    begun: Begun
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    alone: Alone | None = None  # its training, where that has checkpoints

    @property
    def shape(self) -> Hashable:
        """What runs have in common that train as one stack."""
        fit = self.begun.fit
        shapes = tuple(value.shape for value in fit.network.parameters())
        batches = batch_count(len(fit.rows), fit.config.batch_clips)
        return pack_key(self.member.config), batches, shapes

    @property
    def stacks(self) -> bool:
        """Whether it may train with others."""
        return stackable(self.member.config) and not is_large(self.begun.fit.network)

    def again(self, share: float) -> "list[_Training]":
        """Begin anew, and train alone as far."""
        member, train = self.member, self.member.splits[self.fold][0]
        assert member.bench is not None
        bench = member.bench
        begun = member.tried(lambda: bench.begin(train, f"fold {self.fold}"))
        return [] if begun is None else _Training([_Run(member, self.fold, begun)]).advance(share)

    def score(self) -> None:
        """Score the fold as far as it is trained."""
        bench, alone, val = self.member.bench, self.alone, self.member.splits[self.fold][1]
        assert bench is not None
        scores = partial(self.begun.scores, val)
        self.member.results[self.fold] = bench.result(
            self.fold,
            val,
            scores() if alone is None else alone.scored(scores),
            losses=tuple(self.losses),
            train_seconds=self.seconds,
            params=self.begun.params,
            epochs_restored=0 if alone is None else alone.restored,
        )


class _Training:
    """Runs that train together."""

    def __init__(self, runs: Sequence[_Run]) -> None:
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
        bench = first.member.bench
        assert bench is not None
        if len(self._runs) == 1 and not first.stacks:
            first.alone = Alone(first.begun.fit, bench.checkpoint(first.begun))
            first.seconds = first.alone.seconds
            return first.alone
        widths = _widths(bench.setting.store, bench.device)
        return grouped([each.begun.fit for each in self._runs], widths)

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
    waiting: dict[Hashable, list[_Run]] = defaultdict(list)
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
        size = max(1, STACKED // count([runs[0].begun.fit.network]))
        for start in range(0, len(runs), size):
            yield _Training(runs[start : start + size])


def _let_go(error: BaseException | None) -> None:
    """Keep as a note what an error's frames say: they may hold all the memory that there is."""
    while error is not None:
        if error.__traceback__ is not None:
            lines = traceback.format_tb(error.__traceback__)
            error.add_note("".join(["Traceback (most recent call last):\n", *lines]))
            error.__traceback__ = None
        error = error.__context__


@cache
def _widths(store: Store, device: torch.device) -> Widths:
    return Widths(store, device)
