import numpy as np
import pandas as pd
import pytest

from fer_core.errors import FerError
from search.results import nested_score, ranking
from search.results.board import write as write_board
from search.study.folder import write_arrays


def searched(outer, record, result, subjects, right):
    """Write what the search of an outer fold leaves: its record, a trial and its sealed test."""
    outer.path.mkdir(parents=True)
    outer.write_record(record)
    outer.write_result(result)
    outer.write_headlines({"hidden": result.number})
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    arrays = {
        "clips": [f"{subject}-{i}" for i, subject in enumerate(subjects)],
        "subjects": subjects,
        "labels": labels,
        "probabilities": np.eye(2, dtype=np.float32)[predicted],
    }
    write_arrays(outer.predictions(result.number, sealed=True), arrays)


@pytest.fixture
def outer(folder, record, make_result):
    """Two outer folds, in which different trials won."""
    folders = [folder.outer(place) for place in (1, 2)]
    searched(folders[0], record, make_result(3), ["a", "a", "b", "b"], [True, True, True, False])
    searched(folders[1], record, make_result(1), ["c", "c", "d", "d"], [True, False, False, False])
    return folders


def test_the_sealed_folds_of_all_searches_are_scored_together(folder, record, outer):
    nested_score.write(folder, outer, opened_before=2)

    (row,) = nested_score.rows(folder, record)
    assert (row.source, row.task, row.trial, row.folds) == ("nested", "hidden", -52, 2)
    assert row.test_uar == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert row.test_uar_low < row.test_uar < row.test_uar_high
    assert (row.test_subjects, row.test_clips) == (4, 8)
    assert row.opened_before == 2
    assert row.val_uar is None
    assert row.note == "2 searches, each tested on a fold that it never saw; chosen: cnn 2"


def test_the_nested_score_stands_before_the_trials_of_its_study(folder, record, outer, make_result):
    nested_score.write(folder, outer, opened_before=2)

    board = pd.read_parquet(write_board(folder, record, [make_result(0), make_result(1)]))

    assert list(ranking.rank(board)["source"]) == ["nested", "search", "search"]
    assert "nested: the score of the whole procedure" in ranking.explained(ranking.rank(board))


def test_a_task_that_was_not_tested_in_each_fold_has_no_score(folder, record, outer):
    outer[1].write_headlines({"emotion": 1})

    nested_score.write(folder, outer, opened_before=0)

    assert nested_score.rows(folder, record) == []


def test_lost_predictions_of_a_sealed_fold_are_named(folder, outer):
    outer[1].predictions(1, sealed=True).write_bytes(b"not an archive")

    with pytest.raises(FerError, match=r"1-sealed\.npz is missing or damaged, so the nested score"):
        nested_score.write(folder, outer, opened_before=2)
