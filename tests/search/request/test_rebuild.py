import pytest

from fer_core.errors import FerError
from search.drawing.draws import Draws
from search.request import rebuild
from search.study.journal import Journal
from search.study.journal_backends import file_storage


def journal_of(folder):
    return Journal(folder, file_storage(folder), Draws(seed=0))


@pytest.fixture
def searched(folder, space, make_result):
    """A study of six trials, of which one was pruned and one failed; gives what its draws were."""
    journal = journal_of(folder)
    drawn = {}
    for state in ("complete", "pruned", "failed", "complete", "complete", "complete"):
        trial = journal.ask()
        config = journal.draw(trial, space)
        drawn[trial.number] = dict(trial.params)
        values = {"config": config, "params_drawn": dict(trial.params), "rung_uars": (0.5, 0.6)}
        journal.finish(make_result(trial.number, state=state, **values))
    journal.sync()
    return drawn


def shorten(folder, share):
    content = folder.journal.read_bytes()
    cut = content[: int(share * len(content))]
    folder.journal.write_bytes(cut[: cut.rfind(b"\n") + 1])


def test_a_whole_journal_is_accepted(folder, searched):
    rebuild.check(folder, file_storage(folder))


def test_a_journal_that_is_missing_is_refused(folder, searched):
    folder.journal.unlink()

    with pytest.raises(FerError, match=r"lists 0 trials, .* up to trial 5: .* --rebuild"):
        rebuild.check(folder, file_storage(folder))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_journal_that_lists_fewer_trials_than_have_results_is_refused(folder, searched, share):
    shorten(folder, share)

    with pytest.raises(FerError, match=r"lists \d trials, .* up to trial 5: .* --rebuild"):
        rebuild.check(folder, file_storage(folder))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_journal_that_is_made_from_the_results_goes_on_after_them(folder, searched, space, share):
    shorten(folder, share)

    rebuild.rebuild(folder, file_storage(folder), space)

    rebuild.check(folder, file_storage(folder))
    journal = journal_of(folder)
    journal.reconcile()
    assert journal.finished_numbers() == list(searched)
    trials = journal._study.get_trials()
    assert [dict(trial.params) for trial in trials[:6]] == list(searched.values())
    assert [trial.state.name for trial in trials[:3]] == ["COMPLETE", "PRUNED", "FAIL"]
    assert journal.ask().number == 6


def test_a_number_without_a_result_stands_for_an_interrupted_trial(folder, searched, space):
    shorten(folder, 0.0)
    (folder.path / "parts" / "1.json").unlink()

    assert rebuild.rebuild(folder, file_storage(folder), space) == 6

    journal = journal_of(folder)
    assert journal.finished_numbers() == [0, 2, 3, 4, 5]
    assert journal.draws.kept == 5


def test_of_listed_points_those_without_a_result_are_tried_before_new_ones(
    folder, enumerated, make_result
):
    journal = Journal(folder, file_storage(folder), Draws(seed=0, points=enumerated.points))
    for _ in range(2):
        trial = journal.ask()
        config = journal.draw(trial, enumerated)
        journal.finish(make_result(trial.number, config=config, params_drawn=dict(trial.params)))
    journal.sync()
    shorten(folder, 0.0)
    (folder.path / "parts" / "0.json").unlink()

    rebuild.rebuild(folder, file_storage(folder), enumerated)

    again = Journal(folder, file_storage(folder), Draws(seed=0, points=enumerated.points))
    left = [again.ask() for _ in range(2)]
    drawn = [again.draw(trial, enumerated) and trial.params for trial in left]
    assert drawn == [enumerated.points[0], enumerated.points[2]]


def test_results_of_a_version_that_noted_no_parameters_count_and_teach_nothing(
    folder, searched, space, make_result
):
    shorten(folder, 0.0)
    for number in searched:
        folder.write_result(make_result(number))

    rebuild.rebuild(folder, file_storage(folder), space)

    journal = journal_of(folder)
    assert journal.finished_numbers() == list(searched)
    assert all(not trial.params for trial in journal._study.get_trials())
