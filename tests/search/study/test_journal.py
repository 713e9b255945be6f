import resource
import shutil
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from fer_core.config import RecurrentConfig, from_json
from fer_core.errors import FerError
from fer_core.trial.rungs import rungs
from search.drawing.draws import Draws
from search.study.folder import Folder
from search.study.journal import LOSSES, RETRIES, Journal
from search.study.journal_backends import DurableStorage, LogFile, file_storage
from tests.search.conftest import CONFIG


def reopened(journal):
    return Journal(journal.folder, file_storage(journal.folder), Draws(seed=0))


def states(journal):
    return [trial.state for trial in journal._study.trials]


def test_a_finished_trial_is_told_with_its_mean_and_kept_as_a_part(journal, make_result):
    number = journal.ask().number
    result = make_result(number, uars=(0.5, 0.7))

    journal.finish(result)

    assert journal._study.trials[number].value == pytest.approx(0.6)
    assert reopened(journal).finished() == [result]


@pytest.mark.parametrize(
    ("state", "optuna_state"), [("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL)]
)
def test_a_trial_that_did_not_complete_is_told_as_what_it_is(
    journal, make_result, state, optuna_state
):
    number = journal.ask().number

    journal.finish(make_result(number, state=state))

    assert states(journal) == [optuna_state]
    assert journal.finished_numbers() == [number]


def test_a_trial_whose_part_was_damaged_does_not_count(journal, make_result):
    for _ in range(2):
        journal.finish(make_result(journal.ask().number))
    (journal.folder.path / "parts" / "1.json").write_text('{"number": 1')

    again = reopened(journal)

    assert again.finished_numbers() == [0]
    assert again.lost_numbers() == [1]


def test_a_torn_last_line_of_the_journal_is_cut_and_the_study_goes_on(journal, make_result):
    journal.finish(make_result(journal.ask().number))
    journal.ask()
    content = journal.folder.journal.read_bytes()
    journal.folder.journal.write_bytes(content[:-20])

    with journal.folder.locked():
        again = reopened(journal)
        again.reconcile()

    assert again.finished_numbers() == [0]


def test_a_journal_that_cannot_be_mended_is_named(journal, make_result):
    journal.finish(make_result(journal.ask().number))
    journal.folder.journal.write_bytes(b"no json\n")

    with pytest.raises(FerError, match="line 1 is damaged"), journal.folder.locked():
        reopened(journal)


def test_a_running_trial_with_a_part_is_told_from_it(journal, space, make_result):
    trial = journal.ask()
    journal.draw(trial, space)
    result = make_result(trial.number, uars=(0.5, 0.7), rung_uars=(0.5, 0.6))
    journal.folder.write_result(result)

    again = reopened(journal)
    again.reconcile()

    assert again.finished() == [result]
    assert again._study.trials[0].intermediate_values == {1: 0.5, 2: 0.6}


def test_a_running_trial_without_a_part_is_repeated_with_its_parameters(journal, space):
    trial = journal.ask()
    config = journal.draw(trial, space)

    again = reopened(journal)
    again.reconcile()
    repeat = again.ask()

    assert again.finished_numbers() == []
    assert repeat.number != trial.number
    assert again.draw(repeat, space) == config


def test_parameters_that_are_always_interrupted_fail_in_the_end(journal, space):
    for _ in range(RETRIES + 1):
        trial = journal.ask()
        journal.draw(trial, space)
        journal.start([trial.number])
        journal.reconcile()

    (result,) = journal.finished()
    assert result.state == "failed"
    assert result.config_json
    assert f"interrupted {RETRIES + 1} times" in result.error
    assert TrialState.WAITING not in states(journal)


def test_what_no_worker_was_given_is_repeated_however_often_the_driver_dies(journal, space):
    for _ in range(2 * RETRIES):
        journal.draw(journal.ask(), space)
        journal.reconcile()

    assert journal.finished() == []
    assert states(journal)[-1] == TrialState.WAITING


def lose(journal, space, times):
    """Let a trial and its repeats lose their nodes one after another; return them as queued."""
    queued = []
    for _ in range(times):
        trial = journal.ask()
        queued.append(journal.queued_trial(trial.number, journal.draw(trial, space)))
        journal.start([trial.number])
        journal.interrupt(trial.number, lost=True)
    return queued


def test_a_trial_that_lost_its_node_twice_is_repeated_alone(journal, space):
    lose(journal, space, 2)

    (third,) = lose(reopened(journal), space, 1)

    assert third.alone
    assert third.again


def test_a_trial_that_lost_its_node_once_may_train_with_others_again(journal, space):
    _, second = lose(journal, space, 2)

    assert second.again
    assert not second.alone


def test_the_loss_of_a_node_fails_a_trial_only_when_it_comes_ten_times(journal, space):
    lose(journal, space, LOSSES - 1)
    assert journal.finished() == []

    lose(journal, space, 1)

    (result,) = journal.finished()
    assert result.state == "failed"
    assert f"lost its node {LOSSES} times" in result.error
    assert TrialState.WAITING not in states(journal)


def test_losses_are_remembered_over_other_interruptions(journal, space):
    lose(journal, space, 2)
    trial = journal.ask()
    journal.draw(trial, space)

    journal.interrupt(trial.number, counts=False)
    (repeat,) = lose(journal, space, 1)

    assert repeat.alone


def test_what_an_orphan_writes_after_its_trial_is_repeated_is_ignored(journal, space, make_result):
    trial = journal.ask()
    journal.draw(trial, space)
    journal.reconcile()
    journal.folder.write_result(make_result(trial.number))

    journal.reconcile()

    assert journal.finished() == []


def test_a_resumed_study_draws_as_the_uninterrupted_one(tmp_path, space, make_result):
    def drawn(name, interrupted_at):
        folder = Folder(tmp_path / name)
        folder.path.mkdir()
        journal = Journal(folder, file_storage(folder), Draws(seed=0))
        configs = []
        while len(configs) < 16:
            trial = journal.ask()
            config = journal.draw(trial, space)
            if trial.number in interrupted_at:
                journal = reopened(journal)
                journal.reconcile()
                continue
            score = config.optimizer.lr
            journal.finish(make_result(trial.number, uars=(score, score), config=config))
            configs.append(config)
        return configs

    assert drawn("whole", ()) == drawn("killed", (3, 12))


def journal_of_points(journal, enumerated):
    storage = file_storage(journal.folder)
    return Journal(journal.folder, storage, Draws(seed=0, points=enumerated.points))


def test_points_are_tried_in_order_each_once_however_often_the_study_is_resumed(
    journal, enumerated, make_result
):
    tried = []
    for _ in enumerated.points:
        again = journal_of_points(journal, enumerated)
        again.reconcile()
        trial = again.ask()
        tried.append(again.draw(trial, enumerated).optimizer.lr)
        again.finish(make_result(trial.number))

    assert tried == [1e-2, 1e-3, 1e-4]
    assert journal_of_points(journal, enumerated).finished_numbers() == [0, 1, 2]


def test_an_interrupted_point_is_repeated_before_the_next_even_if_nothing_of_it_was_drawn(
    journal, enumerated
):
    journal_of_points(journal, enumerated).ask()

    again = journal_of_points(journal, enumerated)
    again.reconcile()
    drawn = [again.draw(again.ask(), enumerated).optimizer.lr for _ in range(2)]

    assert drawn == [1e-2, 1e-3]


def test_a_point_whose_part_was_damaged_is_tried_again_once(journal, enumerated, make_result):
    points = journal_of_points(journal, enumerated)
    for _ in range(2):
        trial = points.ask()
        points.draw(trial, enumerated)
        points.finish(make_result(trial.number))
    (journal.folder.path / "parts" / "0.json").unlink()

    for _ in range(2):
        points = journal_of_points(journal, enumerated)
        points.reconcile()
    drawn = [points.draw(points.ask(), enumerated).optimizer.lr for _ in range(2)]

    assert drawn == [1e-2, 1e-4]


RUNGS = rungs(5, raced=True)


def raced(journal):
    return Journal(journal.folder, file_storage(journal.folder), Draws(seed=0), rungs=RUNGS)


def race(journal, space, make_result, scores, *, killed_at=()):
    """Run trials of these scores one by one; return how many rungs each of them reached."""
    journal = raced(journal)
    came = []
    for place, score in enumerate(scores):
        if place in killed_at:  # while a trial runs that has passed a rung
            trial = journal.ask()
            journal.report(trial.number, journal.draw(trial, space), score)
            journal = raced(journal)
            journal.reconcile()
        trial = journal.ask()
        config, uars = journal.draw(trial, space), ()
        while len(uars) < len(RUNGS):
            uars += (score,)
            journal.report(trial.number, config, score)
            if not journal.keeps(trial.number):
                break
        state = "complete" if len(uars) == len(RUNGS) else "pruned"
        result = make_result(
            trial.number, state=state, uars=(score,), rung_uars=uars, config=config
        )
        journal.finish(result)
        came.append(len(uars))
    return came


SCORES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.65, 0.1, 0.9, 0.55)


def test_at_each_rung_the_better_half_goes_on(journal, space, make_result):
    came = race(journal, space, make_result, SCORES)

    assert came == [5, 5, 5, 1, 5, 1, 5, 1, 5, 2]


def test_a_study_that_is_killed_and_resumed_stops_the_same_trials(
    journal, space, make_result, tmp_path
):
    (tmp_path / "other").mkdir()
    other = Journal(
        Folder(tmp_path / "other"), file_storage(Folder(tmp_path / "other")), Draws(seed=0)
    )

    whole = race(journal, space, make_result, SCORES)
    killed = race(other, space, make_result, SCORES, killed_at=(3, 4, 8))

    assert killed == whole


def test_within_the_first_fold_a_family_is_compared_with_its_own(journal, space, make_result):
    race(journal, space, make_result, (0.8, 0.8, 0.8, 0.8))
    other = replace(CONFIG, recurrent=RecurrentConfig(cell="gru", hidden=8))
    again = raced(journal)
    number = again.ask().number

    kept = []
    for _ in RUNGS[:3]:
        again.report(number, other, 0.1)
        kept.append(again.keeps(number))

    assert kept == [True, True, False]


def test_without_rungs_none_is_stopped_however_bad(journal, space, make_result):
    race(journal, space, make_result, (0.8, 0.8, 0.8, 0.8))
    trial = reopened(journal).ask()

    again = reopened(journal)
    again.report(trial.number, CONFIG, 0.0)

    assert again.keeps(trial.number)


def test_a_line_that_a_full_disk_cuts_short_leaves_the_journal_whole(tmp_path):
    log = LogFile(tmp_path / "journal.log")
    log.append_logs([{"op_code": 1}])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        with pytest.raises(OSError, match="too large"):
            log.append_logs([{"op_code": 2, "text": "x" * 99}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    log.append_logs([{"op_code": 3}])

    assert [entry["op_code"] for entry in LogFile(tmp_path / "journal.log").read_logs(0)] == [1, 3]


def test_optuna_reads_the_journal_by_its_own_means(journal, space, make_result):
    trial = journal.ask()
    journal.draw(trial, space)
    journal.finish(make_result(trial.number))

    backend = JournalFileBackend(str(journal.folder.journal))
    (study,) = optuna.get_all_study_summaries(JournalStorage(backend))

    assert study.best_trial.params == trial.params


class Killed(BaseException):
    pass


class DyingBackend(LogFile):
    """A journal whose driver is killed before one of its writes."""

    def __init__(self, path, writes):
        super().__init__(path)
        self.writes = writes

    def append_logs(self, logs):
        if self.writes == 0:
            raise Killed
        self.writes -= 1
        super().append_logs(logs)


def drive(journal, space, make_result, *, trials):
    """Do what a driver and its one worker do."""
    journal.reconcile()
    while len(journal.finished_numbers()) < trials:
        trial = journal.ask()
        journal.folder.write_result(
            result := make_result(trial.number, config=journal.draw(trial, space))
        )
        journal.finish(result)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(1, 40), max_size=6))
def test_wherever_the_driver_is_killed_every_trial_is_finished_exactly_once(
    tmp_path, space, make_result, kills
):
    folder = Folder(tmp_path / "killed")
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir()
    finished = {}

    for writes in [*kills, 10_000]:
        with suppress(Killed):
            storage = DurableStorage(DyingBackend(folder.journal, writes))
            drive(Journal(folder, storage, Draws(seed=0)), space, make_result, trials=5)
        left = Journal(folder, file_storage(folder), Draws(seed=0))
        after = {result.number: result for result in left.finished()}
        assert finished.items() <= after.items()
        finished = after

    configs = Counter(result.config_json for result in finished.values())
    assert len(finished) == 5
    assert set(configs.values()) == {1}
    assert left.finished_numbers() == sorted(finished)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(1, 25), max_size=6))
def test_wherever_the_driver_is_killed_every_point_is_finished_exactly_once(
    tmp_path, enumerated, make_result, kills
):
    folder = Folder(tmp_path / "killed")
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir()

    for writes in [*kills, 10_000]:
        with suppress(Killed):
            storage = DurableStorage(DyingBackend(folder.journal, writes))
            journal = Journal(folder, storage, Draws(seed=0, points=enumerated.points))
            drive(journal, enumerated, make_result, trials=3)

    rates = [from_json(result.config_json).optimizer.lr for result in journal.finished()]
    assert sorted(rates) == [1e-4, 1e-3, 1e-2]
