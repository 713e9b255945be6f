import time

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search import space as spaces
from search.study.journal import RETRIES
from search.study.searcher import StudySearcher

NEVER_VALID = """
    def space(trial):
        raise ValueError(f"no config for {trial.suggest_int('x', 0, 9)}")
    """


@pytest.fixture
def finished():
    return []


@pytest.fixture
def make_searcher(journal, space, finished):
    def make(trials=2, deadline=None, space=space):
        return StudySearcher(
            journal, space, trials=trials, deadline=deadline, on_finish=finished.append
        )

    return make


def complete(searcher, journal, make_part, trial_id, number, **values):
    journal.folder.write_part(make_part(number, **values))
    searcher.on_trial_complete(trial_id)


def test_it_waits_while_trials_run_and_ends_when_they_are_done(make_searcher, journal, make_part):
    searcher = make_searcher(trials=2)
    numbers = {name: searcher.suggest(name)["number"] for name in ("a", "b")}

    assert searcher.suggest("c") is None
    for name, number in numbers.items():
        complete(searcher, journal, make_part, name, number)
    assert searcher.suggest("c") == Searcher.FINISHED
    assert len(journal.finished()) == 2


def test_a_config_that_the_space_cannot_make_fails_and_the_next_is_drawn(
    make_searcher, write_space, journal, finished
):
    searcher = make_searcher(trials=3, space=spaces.load(write_space(NEVER_VALID)))

    assert searcher.suggest("a") == Searcher.FINISHED
    assert [part.state for part in finished] == ["failed"] * 3
    assert "ValueError: no config for" in finished[0].error
    assert journal.finished() == finished


def test_a_trial_that_lost_its_worker_is_repeated(make_searcher, journal, make_part, finished):
    searcher = make_searcher(trials=1)
    lost = searcher.suggest("a")

    searcher.on_trial_complete("a", error=True)
    repeat = searcher.suggest("b")
    complete(searcher, journal, make_part, "b", repeat["number"])

    assert repeat["config_json"] == lost["config_json"]
    assert [part.number for part in finished] == [repeat["number"]]
    assert searcher.suggest("c") == Searcher.FINISHED


def test_a_trial_that_always_loses_its_worker_fails(make_searcher, finished):
    searcher = make_searcher(trials=1)

    for name in map(str, range(RETRIES + 1)):
        assert searcher.suggest(name)["config_json"]
        searcher.on_trial_complete(name, error=True)

    assert [part.state for part in finished] == ["failed"]
    assert searcher.suggest("z") == Searcher.FINISHED


def test_a_trial_below_the_median_is_pruned_with_the_folds_it_finished(
    make_searcher, journal, make_part, finished
):
    searcher = make_searcher(trials=7)
    for name in "abcde":
        complete(searcher, journal, make_part, name, searcher.suggest(name)["number"])
    good, bad = searcher.suggest("good")["number"], searcher.suggest("bad")["number"]

    assert not searcher.prune("good", make_part(good, state="pruned", uars=(0.9,)))
    assert searcher.prune("bad", make_part(bad, state="pruned", uars=(0.1,)))
    searcher.on_trial_complete("bad")

    assert finished[-1].state == "pruned"
    assert finished[-1].fold_uars == (0.1,)
    told = journal._study.trials[bad]
    assert (told.state, told.value) == (TrialState.PRUNED, 0.1)


def test_no_trial_starts_after_the_deadline_and_those_that_run_are_told(
    make_searcher, journal, make_part
):
    searcher = make_searcher(trials=9, deadline=time.monotonic() + 0.2)
    number = searcher.suggest("a")["number"]
    time.sleep(0.2)

    assert searcher.suggest("b") is None
    complete(searcher, journal, make_part, "a", number)
    assert searcher.suggest("b") == Searcher.FINISHED
    assert journal.finished_numbers() == [number]


def test_finished_trials_of_an_earlier_run_count(make_searcher, journal, make_part):
    journal.finish(make_part(journal.ask().number))

    searcher = make_searcher(trials=1)

    assert searcher.suggest("a") == Searcher.FINISHED


def test_an_error_while_a_trial_is_told_stops_the_search(make_searcher, journal, make_part):
    def refuse(part):
        raise OSError("no space left on device")

    searcher = make_searcher(trials=3)
    searcher._on_finish = refuse

    complete(searcher, journal, make_part, "a", searcher.suggest("a")["number"])

    assert isinstance(searcher.error, OSError)
    assert searcher.suggest("b") == Searcher.FINISHED
