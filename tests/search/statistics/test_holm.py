import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.statistics.holm import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_four_p_values_are_corrected_as_r_corrects_them():
    corrected = holm([0.03, 0.01, 0.04, 0.02])  # p.adjust(..., "holm")

    assert corrected == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(P_VALUES)
def test_a_corrected_p_value_is_a_share_and_never_below_the_raw_one(p_values):
    corrected = holm(p_values)

    assert len(corrected) == len(p_values)
    assert all(raw <= each <= 1 for raw, each in zip(p_values, corrected, strict=True))


@given(P_VALUES)
def test_corrected_p_values_keep_the_order_of_the_raw_ones(p_values):
    corrected = holm(p_values)

    by_raw = [each for _, each in sorted(zip(p_values, corrected, strict=True))]
    assert by_raw == sorted(corrected)
