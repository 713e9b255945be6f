"""Run one search: train the trials that it lacks, test its winners, and write its leaderboard file.

A study is one search; a nested study is one over all folds and one inside each of them.
`session.py` and `nested.py` call `run`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote

from fer_core.data.study_data import StudyData
from fer_core.errors import NoTrialSucceededError
from fer_core.trial import packing, rungs
from search.cluster import baseline_tasks, connection, tuner
from search.cluster.sealed_test import score_winners
from search.drawing.families import Families
from search.drawing.space import Space
from search.request import rebuild, rescore
from search.request.draws import draws_of
from search.request.settings import Machines
from search.results.board import Board
from search.screen.progress import Progress
from search.study.folder import Folder, Record
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from search.study.searcher import StudySearcher


@dataclass(frozen=True, kw_only=True)
class OneSearch:
    """The settings of one search; `run` takes them together with the data."""

    folder: Folder
    record: Record
    space: Space  # without the configs that cannot work on the data
    plain_space: Space  # as the user wrote it
    tasks: set[str]  # that its trials learn; a space may choose others than the study's
    machines: Machines
    deadline: float | None  # in the seconds of `time.monotonic`; no trial starts after it
    rebuilds: bool = False  # whether to make the journal from the results first
    families: Families | None = None  # model families that get their trials first
    # What to call before the sealed test begins; None: the search writes its own board then.
    on_opening: Callable[[], None] | None = None

    def write_board(self) -> None:
        """Write its board, with who has been tested so far."""
        board = Board(self.folder, self.record)
        board.write(self.folder.results(self.folder.result_numbers()).values())

    @property
    def raced(self) -> bool:
        """Whether worse trials are stopped early. Points that a space lists are all trained."""
        return self.record.pruning and not self.space.points

    @property
    def is_outer(self) -> bool:
        """Whether it is the search inside one outer fold of a nested study."""
        return self.record.outer_of is not None

    def may_test(self, journal: Journal) -> bool:
        """Whether the winners have their sealed test now.

        An outer fold waits for all trials of its search, because its score counts them as one
        procedure. The search over all folds of a nested study seals nobody.
        """
        if not self.is_outer:
            return not self.record.nested
        complete = len(journal.finished()) >= self.record.trials
        return complete or (journal.draws.exhausted and not journal.repeats_waiting)

    def journal(self, study_data: StudyData) -> Journal:
        """Open the journal of its trials.

        Raises: FerError if results are there that it does not list.
        """
        storage = file_storage(self.folder)
        rebuild.check(self.folder, storage)
        draws = draws_of(self.space, self.record, study_data.clip, self.families)
        raced = rungs.rungs(len(study_data.protocol.folds), raced=True) if self.raced else ()
        return Journal(self.folder, storage, draws, rungs=raced)


def run(search: OneSearch, study_data: StudyData, progress: Progress) -> Journal:
    """Train the trials that a search lacks, test the winners, and write its leaderboard file.

    Returns the journal, which has the results of all finished trials.

    Raises: NoTrialSucceededError if no trial is complete at the end.
    """
    folder, record, machines = search.folder, search.record, search.machines
    journal, board = _open_journal(search, study_data, progress), Board(folder, record)
    with connection.connected(machines.address) as where:
        each = tuner.divide_cluster(
            machines.cpus_per_trial,
            machines.gpus_per_trial,
            machines.gpus_per_head,
            growing=machines.address != "local",
        )
        progress.print(f"on {where}, {each.concurrent} trials at a time")
        progress.workers = each.concurrent
        tasks = () if search.is_outer else search.tasks  # the search over all folds has them
        baselines = baseline_tasks.start(tasks, study_data, folder, each)
        searcher = _searcher(search, study_data, journal, board, progress, each.concurrent)
        tuner.run(searcher, study_data, folder, each, raced=search.raced, progress=progress)
        journal.reconcile()  # trials that were drawn and did not start in time wait for a resume
        progress.print_all(journal.draws.summary())
        baseline_tasks.finish(baselines, progress)
        if search.may_test(journal):
            score_winners(
                journal.finished(),
                study_data,
                folder,
                each,
                progress,
                best_only=search.is_outer,
                on_opening=search.on_opening or board.write_now,
            )
    journal.sync()  # fails if another driver has taken over: then the board is that driver's
    board.write(journal.finished())
    folder.clear_checkpoints()
    _require_success(journal.finished(), folder)
    return journal


def settle(search: OneSearch, study_data: StudyData) -> None:
    """Tell the journal how every finished trial ended, and write the board, for a later resume."""
    journal = search.journal(study_data)
    journal.reconcile(counts=False)
    Board(search.folder, search.record).write(journal.finished())


def _open_journal(search: OneSearch, study_data: StudyData, progress: Progress) -> Journal:
    """Open the journal, settle what an earlier run left, and show what the search has."""
    if rescored := rescore.rescore(search.folder, study_data):
        progress.print(f"{rescored} results of an older version were rescored as today's are")
    if search.rebuilds:
        listed = rebuild.rebuild(search.folder, file_storage(search.folder), search.space)
        progress.print(f"{listed} trials were listed in the journal again")
    journal = search.journal(study_data)
    journal.reconcile()
    progress.print(f"study {search.record.study}")
    for number in journal.lost_numbers():
        progress.print(f"the result of trial {number} is lost or damaged; a new trial replaces it")
    progress.begin(search.record.trials, journal.finished())
    return journal


def _searcher(
    search: OneSearch,
    study_data: StudyData,
    journal: Journal,
    board: Board,
    progress: Progress,
    workers: int,
) -> StudySearcher:
    """Build the searcher, and put the trials that are finished on the board."""

    def on_finish(result: TrialResult) -> None:
        board.add(result)
        progress.finished(result)

    board.begin(journal.finished())
    return StudySearcher(
        journal,
        search.space,
        trials=search.record.trials,
        deadline=search.deadline,
        on_finish=on_finish,
        most_members=partial(packing.most_members, study_data=study_data),
        workers=workers,
    )


def _require_success(finished: Sequence[TrialResult], folder: Folder) -> None:
    if any(result.state == "complete" for result in finished):
        return
    if not finished:
        raise NoTrialSucceededError(
            f"the time budget was up before any trial of {folder.name} had ended; "
            f"continue with --resume {quote(folder.name)}."
        )
    first = next((result.error for result in finished if result.error), "no reason is known")
    raise NoTrialSucceededError(
        f"none of the {len(finished)} trials of {folder.name} succeeded; the first failed with: "
        f"{first.rstrip('.')}; the others are in {folder.path / 'failures'}."
    )
