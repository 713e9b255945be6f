from collections import Counter

import pytest

from search.results.published import ROWS


def test_every_row_that_the_study_printed_is_there():
    counts = Counter(row.table for row in ROWS.values())

    assert counts == {4: 8, 5: 2, 6: 1, 7: 4, 8: 5, 9: 4, 12: 5, 14: 4}


@pytest.mark.parametrize(
    ("dataset", "task", "best"),
    [
        ("sase_fe", "emotion", 0.594999),
        ("sase_fe", "hidden", 0.6275),
        ("oulu_casia", "emotion", 0.589),
    ],
)
def test_each_dataset_and_task_has_its_best_figure(dataset, task, best):
    figures = [r.accuracy for r in ROWS.values() if (r.dataset, r.task) == (dataset, task)]

    assert max(figures) == best


def test_each_row_says_why_it_compares_with_nothing_and_some_say_more():
    whys = {key: row.why for key, row in ROWS.items()}

    assert all("best epoch" in why and "one split" in why for why in whys.values())
    assert "5-frame windows" in whys["t8-c3d"]
    assert "never applied" in whys["t12-gru-features"]
    assert "probably random" in whys["t9-face"]
    assert "defined nowhere" in whys["t4-first-frozen-3fc"]
