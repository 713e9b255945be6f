import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fer_core.config import RecurrentConfig, from_json
from fer_core.storage.files import write_atomically
from search.results import comparisons, ranking
from search.results.board import write
from search.study.folder import write_arrays

CLASSES, CLIPS = 2, 6  # of each subject and class
OLD_TEST = {"test_uar": 0.8, "test_subjects": 5, "test_clips": 60}


def predicted(share, subjects=5, seed=0):
    """Predictions of which about this share is right."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(CLASSES), CLIPS), subjects)
    right = rng.random(len(labels)) < share
    return {
        "clips": np.array([f"clip{i:03d}" for i in range(len(labels))]),
        "subjects": np.repeat([f"p{i}" for i in range(subjects)], CLASSES * CLIPS),
        "labels": labels,
        "probabilities": np.eye(CLASSES, dtype=np.float32)[np.where(right, labels, 1 - labels)],
    }


def uar(arrays):
    right = arrays["probabilities"].argmax(axis=1) == arrays["labels"]
    return np.mean([right[arrays["labels"] == kind].mean() for kind in range(CLASSES)])


def write_val(folder, number, arrays):
    write_arrays(folder.predictions(number), {f"fold0.{k}": v for k, v in arrays.items()})


def write_test(folder, number, fits, **notes):
    """Write a sealed test with a fit for each seed, and give the mean UAR of its fits."""
    for repeat, arrays in enumerate(fits):
        write_arrays(folder.predictions(number, sealed=True, repeat=repeat), arrays)
    scores = {"test_uar": uar(fits[0]), "test_war": 0.5, "test_subjects": 5, "test_clips": 60}
    notes = {"test_repeats": len(fits), **notes}
    if len(fits) > 1:
        notes["test_uar_mean"] = np.mean([uar(arrays) for arrays in fits])
    write_atomically(folder.sealed_test(number), json.dumps(scores | notes).encode())
    return np.mean([uar(arrays) for arrays in fits])


@pytest.fixture
def trials(make_result):
    """Trials 0, 1 and 2, each of a family of its own."""
    cnn = from_json(make_result(0).config_json)
    cells = [None, *(RecurrentConfig(cell=cell, hidden=8) for cell in ("gru", "lstm"))]
    uars = [(0.5, 0.5), (0.9, 0.9), (0.7, 0.7)]
    return [
        make_result(n, uars=uar, config=replace(cnn, recurrent=cell))
        for n, (uar, cell) in enumerate(zip(uars, cells, strict=True))
    ]


def board(folder, record, trials):
    rows = pd.read_parquet(write(folder, record, trials))
    return ranking.searched(rows).set_index("trial").astype(object)


def test_the_headline_has_a_test_score_and_other_winners_their_difference_to_it(
    folder, record, trials
):
    tests = [
        write_test(folder, n, [predicted(s, seed=n)], headline=1)
        for n, s in enumerate((0.2, 0.9, 0.8))
    ]

    rows = board(folder, record, trials)

    assert rows["headline"].tolist() == [False, True, False]
    assert rows.loc[1, "test_uar"] == tests[1]
    assert rows.loc[[0, 2], ["test_uar", "test_uar_low", "test_war"]].isna().all(axis=None)
    assert rows["test_subjects"].tolist() == [5, 5, 5]
    assert pd.isna(rows.loc[1, "test_difference"])
    for other in (0, 2):
        row = rows.loc[other]
        assert row["test_difference"] == pytest.approx(tests[other] - tests[1])
        assert row["test_difference_low"] < row["test_difference"] < row["test_difference_high"]
    assert rows.loc[0, "test_difference_high"] < 0 < rows.loc[2, "test_difference_high"]
    assert rows[["rank_low", "rank_high"]].to_numpy().tolist() == [[3, 3], [1, 2], [1, 2]]
    assert rows["tied_with_best"].tolist() == [False, True, True]


def test_without_the_headlines_test_no_winner_has_a_score_or_a_difference(folder, record, trials):
    write_test(folder, 0, [predicted(0.5)], headline=1)
    write_test(folder, 2, [predicted(0.6)], headline=1)

    rows = board(folder, record, trials)

    assert rows[["test_uar", "test_difference"]].isna().all(axis=None)
    assert rows["headline"].tolist()[0] is False


def test_differences_are_those_of_the_mean_over_the_training_seeds(folder, record, trials):
    fits = [
        [predicted(share, seed=4 * n + r) for r in range(3)] for n, share in enumerate((0.6, 0.8))
    ]
    other, headline = (write_test(folder, n, each, headline=1) for n, each in enumerate(fits))

    rows = board(folder, record, trials)

    assert rows.loc[0, "test_difference"] == pytest.approx(other - headline)
    assert rows.loc[1, "test_uar"] == uar(fits[1][0])
    assert rows.loc[1, "test_uar_mean"] == headline
    assert pd.isna(rows.loc[0, "test_uar_mean"])
    assert rows["test_repeats"].tolist()[:2] == [3, 3]


def test_tests_of_an_earlier_version_keep_their_scores_and_a_later_family_has_a_difference(
    folder, record, trials
):
    for number in (0, 1):
        write_arrays(folder.predictions(number, sealed=True), predicted(0.8, seed=number))
        write_atomically(folder.sealed_test(number), json.dumps(OLD_TEST).encode())
    before = board(folder, record, trials)

    write_test(folder, 2, [predicted(0.7, seed=2)], headline=1)
    after = board(folder, record, trials)

    for rows in (before, after):
        assert rows["test_uar"].tolist()[:2] == [0.8, 0.8]
    assert before["headline"].isna().all()
    assert after["headline"].tolist()[1:] == [True, False]
    assert after["test_difference"].notna().tolist() == [False, False, True]


def test_complete_trials_of_the_same_clips_have_ranks_by_val(folder, record, trials, make_result):
    for number, share in enumerate((0.2, 0.95, 0.9)):
        write_val(folder, number, predicted(share, subjects=12, seed=number))
    write_val(folder, 3, predicted(0.9, subjects=4))
    others = [make_result(3), make_result(4, state="pruned"), make_result(5)]

    rows = board(folder, record, [*trials, *others])

    assert rows["val_rank_low"].tolist()[:3] == [3, 1, 1]
    assert rows["val_rank_high"].tolist()[:3] == [3, 2, 2]
    assert rows["val_tied_with_best"].tolist()[:3] == [False, True, True]
    assert rows["val_rank_low"].isna().tolist()[3:] == [True, True, True]
    assert rows["val_uar_corrected"].notna().tolist() == [False, True, False, False, False, False]


def test_two_subjects_rank_no_trial(folder, record, trials):
    for number in range(3):
        write_val(folder, number, predicted(0.5, subjects=2, seed=number))

    rows = board(folder, record, trials)

    assert rows[["val_rank_low", "val_tied_with_best"]].isna().all(axis=None)


def test_predictions_are_read_of_trials_that_were_scored_on_the_same_clips(folder):
    write_val(folder, 0, predicted(1.0))
    write_val(folder, 1, predicted(0.0))
    write_val(folder, 2, predicted(1.0, subjects=4))
    write_val(folder, 3, predicted(1.0))
    damaged = folder.predictions(3)
    damaged.write_bytes(damaged.read_bytes()[:200])
    write_arrays(folder.predictions(4), {})

    found = comparisons.read_hits(folder, [0, 1, 2, 3, 4, 5])

    assert found.numbers == [0, 1]
    assert found.hits.clips.tolist() == [[CLIPS] * CLASSES] * 5
    assert found.hits.hits.tolist() == [[[CLIPS] * CLASSES] * 5, [[0] * CLASSES] * 5]


def test_without_predictions_of_the_first_trial_there_is_nothing_to_compare(folder):
    assert comparisons.read_hits(folder, [0, 1]) is None


def test_a_row_shows_of_its_sealed_test_what_the_board_shows(folder, record, trials):
    tests = [write_test(folder, n, [predicted(0.7, seed=n)], headline=1) for n in (0, 1)]

    other, headline, none = (
        comparisons.sealed_row(folder, n, trials, record.task) for n in (0, 1, 2)
    )

    assert "test_uar" not in other
    assert other["test_difference"] == pytest.approx(tests[0] - tests[1])
    assert headline["test_uar"] == tests[1]
    assert none is None


def test_the_printed_table_marks_the_headline_and_shows_differences_and_ranks(
    folder, record, trials
):
    for number, share in enumerate((0.3, 0.9, 0.85)):
        write_val(folder, number, predicted(share, subjects=12, seed=number))
        write_test(
            folder, number, [predicted(share, seed=number)] * 2, headline=1, test_uar_std=0.0
        )
    ranked = ranking.rank(pd.read_parquet(write(folder, record, trials)))

    shown = {str(c.header): list(c.cells) for c in ranking.table(ranked).columns}
    explained = " ".join(ranking.explained(ranked).split())

    assert shown["trial"] == ["1*", "2", "0"]
    assert shown["rank"] == ["1-2", "1-2", "3"]
    assert [cell[0] for cell in shown["test_uar [95 %]"]] == ["0", "-", "-"]
    assert "*: the headline" in explained
    assert "tied: 2 of 3 complete trials" in explained
    assert "ranks on the sealed subjects: trial 1 1-2 (tied with the best)" in explained
    assert "repeats: trial 1 was refitted with 2 seeds" in explained
