from hypothesis import given
from hypothesis import strategies as st

from fer_core.data.problems import grouped


def test_problems_of_one_kind_share_a_group_with_its_first_three():
    lost = [(f"{i}.jpg", "it does not exist") for i in range(5)]
    coded = [(f"c{i}.jpg", f"its label is '{i}', which is none of 1, 2") for i in range(2)]
    places = {"0.jpg": "labels.csv, line 2"}

    first, second = grouped([*coded, *lost])

    assert first.line(places) == (
        "it does not exist: 0.jpg (labels.csv, line 2), 1.jpg, 2.jpg and 2 more"
    )
    assert (first.count, second.count) == (5, 2)
    assert second.line() == "its label is '0', which is none of 1, 2: c0.jpg, c1.jpg"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_the_counts_add_up_and_the_largest_group_comes_first(reasons):
    found = grouped(reasons)

    counts = [group.count for group in found]
    assert sum(counts) == len(reasons)
    assert counts == sorted(counts, reverse=True)
    assert all(len(group.examples) == min(3, group.count) for group in found)
    assert {e for group in found for e in group.examples} <= set(reasons)
