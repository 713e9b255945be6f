"""Train a pack of configs together, rung by rung; after each rung, some of them may leave.

`train` is a generator that knows nothing of Ray: a worker of the search, a replay or
`evaluate.cross_validate` loops over it, and answers each rung with the members that are to stop.
The folds of one config train as one stack, and so do the configs of a pack, wherever their
trainable parts have one shape; large networks train one by one. `fold_training.py` does the
training itself.
"""

from collections import defaultdict
from collections.abc import Collection, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fer_core.config import Config
from fer_core.data.study_data import StudyData
from fer_core.models.network import count
from fer_core.trial.fold_training import FoldGroup, FoldTraining, Member
from fer_core.trial.results import FoldResult
from fer_core.trial.rungs import Rung, rungs
from fer_core.trial.trial_data import FoldFit, TrialData

STACKED = 16_000_000  # most parameters of a stack: with gradients and moments, a third of a GB


@dataclass(frozen=True, kw_only=True)
class AtRung:
    """What a member of a pack has come to at a rung."""

    member: int  # its position among the configs
    results: tuple[FoldResult, ...]  # results of the folds that it has started, in order
    error: Exception | None = None  # why it failed; then it has left the pack


def train(
    configs: Sequence[Config], study_data: StudyData, *, raced: bool
) -> Generator[list[AtRung], Collection[int], None]:
    """Train configs up to each rung, and yield what each remaining member has come to.

    The caller sends the positions of the members that are to leave. A config that fails leaves with
    its error, and the others go on. If `raced` is false there is one rung, after all folds. The
    caller should write down the results of a rung before it asks for the next or closes the
    generator, because the checkpoints of members that have ended are deleted then.
    """
    members = [Member(position, config) for position, config in enumerate(configs)]
    for member in members:
        member.prepare(study_data)
    groups: list[FoldGroup] = []
    course = rungs(len(study_data.protocol.folds), raced=raced)
    for rung in course:
        groups = _advanced(members, groups, rung)
        leaving, answered = set[int](), False
        try:
            leaving.update((yield [_at_rung(member) for member in members]) or ())
            answered = True
        finally:  # a pack that was closed before its last rung may go on from its checkpoints
            for member in members:
                ended = member.error is not None or member.position in leaving
                if (ended and answered) or (rung is course[-1] and member.error is None):
                    member.remove_checkpoints()
        members = [m for m in members if m.error is None and m.position not in leaving]
        for group in groups:
            group.keep_only(members)
        if not members:
            return


def train_fit(trial_data: TrialData, fold_fit: FoldFit) -> None:
    """Train one fit to its end, alone.

    Raises: DivergedError where its loss is no longer finite.
    """
    member = Member(0, trial_data.config, trial_data=trial_data)
    FoldGroup([FoldTraining(member, 0, fold_fit)]).advance(1.0)
    member.remove_checkpoints()
    if member.error is not None:
        raise member.error


def _at_rung(member: Member) -> AtRung:
    results = tuple(member.results[fold] for fold in sorted(member.results))
    return AtRung(member=member.position, results=results, error=member.error)


def _advanced(
    members: Sequence[Member], groups: Iterable[FoldGroup], rung: Rung
) -> list[FoldGroup]:
    """Train and score all folds up to a rung; give the groups that are not trained to their end."""
    unfinished = []
    for due in _due(members, groups, rung):
        for group in due.advance(rung.epochs):
            group.score()
            if group.unfinished:
                unfinished.append(group)
    return unfinished


def _due(members: Sequence[Member], groups: Iterable[FoldGroup], rung: Rung) -> Iterator[FoldGroup]:
    """Yield all that trains up to a rung: first the groups that were started at earlier rungs.

    Then come new folds with large networks, each made only when the one before it has trained, and
    at last stacks of new folds.
    """
    yield from groups
    waiting: dict[Hashable, list[FoldTraining]] = defaultdict(list)
    for member in members:
        for fold in rung.folds:
            training = member.start(fold)
            if training is not None and training.stacks:
                waiting[training.shape].append(training)
            elif training is not None:
                yield FoldGroup([training])
    for alike in waiting.values():
        trainings = [each for each in alike if each.member.error is None]
        if not trainings:
            continue
        size = max(1, STACKED // count([trainings[0].fold_fit.fit.network]))
        for start in range(0, len(trainings), size):
            yield FoldGroup(trainings[start : start + size])
