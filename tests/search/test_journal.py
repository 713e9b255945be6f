import shutil
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from fer_core.config import from_json
from fer_core.errors import FerError
from search.study.folder import Folder
from search.study.journal import RETRIES, Journal, file_storage


def reopened(journal):
    return Journal(journal.folder, file_storage(journal.folder), seed=0)


def states(journal):
    return [trial.state for trial in journal._study.trials]


def test_a_finished_trial_is_told_with_its_mean_and_kept_as_a_part(journal, make_part):
    number = journal.ask().number
    part = make_part(number, uars=(0.5, 0.7))

    journal.finish(part)

    assert journal._study.trials[number].value == pytest.approx(0.6)
    assert reopened(journal).finished() == [part]


@pytest.mark.parametrize(
    ("state", "told"), [("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL)]
)
def test_a_trial_that_did_not_complete_is_told_as_what_it_is(journal, make_part, state, told):
    number = journal.ask().number

    journal.finish(make_part(number, state=state))

    assert states(journal) == [told]
    assert journal.finished_numbers() == [number]


def test_a_trial_whose_part_was_damaged_does_not_count(journal, make_part):
    for _ in range(2):
        journal.finish(make_part(journal.ask().number))
    (journal.folder.path / "parts" / "1.json").write_text('{"number": 1')

    assert journal.finished_numbers() == [0]
    assert journal.lost_numbers() == [1]


def test_a_torn_last_line_of_the_journal_is_cut_and_the_study_goes_on(journal, make_part):
    journal.finish(make_part(journal.ask().number))
    journal.ask()
    content = journal.folder.journal.read_bytes()
    journal.folder.journal.write_bytes(content[:-20])

    with journal.folder.held():
        again = reopened(journal)
        again.reconcile()

    assert again.finished_numbers() == [0]


@pytest.mark.parametrize(("damage", "said"), [(b"no json\n", "line 1 is damaged"), (None, "gone")])
def test_a_journal_that_cannot_be_mended_is_named(journal, make_part, damage, said):
    journal.finish(make_part(journal.ask().number))
    file = journal.folder.journal
    file.unlink() if damage is None else file.write_bytes(damage)

    with pytest.raises(FerError, match=said), journal.folder.held():
        pass


def test_a_running_trial_with_a_part_is_told_from_it(journal, make_part):
    part = make_part(journal.ask().number)
    journal.folder.write_part(part)

    again = reopened(journal)
    again.reconcile()

    assert again.finished() == [part]
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
        journal.draw(journal.ask(), space)
        journal.reconcile()

    (part,) = journal.finished()
    assert part.state == "failed"
    assert part.config_json
    assert f"interrupted {RETRIES + 1} times" in part.error
    assert TrialState.WAITING not in states(journal)


def test_what_an_orphan_writes_after_its_trial_is_repeated_is_ignored(journal, space, make_part):
    trial = journal.ask()
    journal.draw(trial, space)
    journal.reconcile()
    journal.folder.write_part(make_part(trial.number))

    journal.reconcile()

    assert journal.finished() == []


def test_a_resumed_study_draws_as_the_uninterrupted_one(tmp_path, space, make_part):
    def drawn(name, interrupted_at):
        folder = Folder(tmp_path / name)
        folder.path.mkdir()
        journal = Journal(folder, file_storage(folder), seed=0)
        configs = []
        while len(configs) < 16:
            trial = journal.ask()
            config = journal.draw(trial, space)
            if trial.number in interrupted_at:
                journal = reopened(journal)
                journal.reconcile()
                continue
            score = config.optimizer.lr
            journal.finish(make_part(trial.number, uars=(score, score), config=config))
            configs.append(config)
        return configs

    assert drawn("whole", ()) == drawn("killed", (3, 12))


def of_points(journal, enumerated):
    storage = file_storage(journal.folder)
    return Journal(journal.folder, storage, seed=0, points=enumerated.points)


def test_points_are_tried_in_order_each_once_however_often_the_study_is_resumed(
    journal, enumerated, make_part
):
    tried = []
    for _ in enumerated.points:
        again = of_points(journal, enumerated)
        again.reconcile()
        trial = again.ask()
        tried.append(again.draw(trial, enumerated).optimizer.lr)
        again.finish(make_part(trial.number))

    assert tried == [1e-2, 1e-3, 1e-4]
    assert of_points(journal, enumerated).finished_numbers() == [0, 1, 2]


def test_an_interrupted_point_is_repeated_before_the_next_even_if_nothing_of_it_was_drawn(
    journal, enumerated
):
    of_points(journal, enumerated).ask()

    again = of_points(journal, enumerated)
    again.reconcile()
    drawn = [again.draw(again.ask(), enumerated).optimizer.lr for _ in range(2)]

    assert drawn == [1e-2, 1e-3]


def test_a_point_whose_part_was_damaged_is_tried_again_once(journal, enumerated, make_part):
    points = of_points(journal, enumerated)
    for _ in range(2):
        trial = points.ask()
        points.draw(trial, enumerated)
        points.finish(make_part(trial.number))
    (journal.folder.path / "parts" / "0.json").unlink()

    for _ in range(2):
        points = of_points(journal, enumerated)
        points.reconcile()
    drawn = [points.draw(points.ask(), enumerated).optimizer.lr for _ in range(2)]

    assert drawn == [1e-2, 1e-4]


def test_of_points_none_is_pruned_however_bad(journal, enumerated, make_part):
    points = of_points(journal, enumerated)
    for _ in range(2):
        points.finish(make_part(points.ask().number, uars=(0.9, 0.9)))
    points._study.pruner._n_startup_trials = 0

    trial = points.ask()
    trial.report(0.1, 1)

    assert not trial.should_prune()


class Killed(BaseException):
    pass


class DyingBackend(JournalFileBackend):
    """A journal whose driver is killed before one of its writes."""

    def __init__(self, path, writes):
        super().__init__(path, lock_obj=JournalFileOpenLock(path))
        self.writes = writes

    def append_logs(self, logs):
        if self.writes == 0:
            raise Killed
        self.writes -= 1
        super().append_logs(logs)


def drive(journal, space, make_part, *, trials):
    """Do what a driver does, its one worker's part included."""
    journal.reconcile()
    while len(journal.finished_numbers()) < trials:
        trial = journal.ask()
        journal.folder.write_part(
            part := make_part(trial.number, config=journal.draw(trial, space))
        )
        journal.finish(part)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(1, 40), max_size=6))
def test_wherever_the_driver_is_killed_every_trial_is_finished_exactly_once(
    tmp_path, space, make_part, kills
):
    folder = Folder(tmp_path / "killed")
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir()
    finished = {}

    for writes in [*kills, 10_000]:
        with suppress(Killed):
            storage = JournalStorage(DyingBackend(str(folder.journal), writes))
            drive(Journal(folder, storage, seed=0), space, make_part, trials=5)
        left = Journal(folder, file_storage(folder), seed=0)
        after = {part.number: part for part in left.finished()}
        assert finished.items() <= after.items()
        finished = after

    configs = Counter(part.config_json for part in finished.values())
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
    tmp_path, enumerated, make_part, kills
):
    folder = Folder(tmp_path / "killed")
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir()

    for writes in [*kills, 10_000]:
        with suppress(Killed):
            storage = JournalStorage(DyingBackend(str(folder.journal), writes))
            journal = Journal(folder, storage, seed=0, points=enumerated.points)
            drive(journal, enumerated, make_part, trials=3)

    rates = [from_json(part.config_json).optimizer.lr for part in journal.finished()]
    assert sorted(rates) == [1e-4, 1e-3, 1e-2]
