import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.errors import DataError
from fer_core.faces.align import TEMPLATE, five_points, similarity

coordinates = st.floats(-1000, 1000)


@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.01, 100), shift=st.tuples(*[coordinates] * 2))
def test_a_known_similarity_is_recovered(angle, scale, shift):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    known = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
    source = TEMPLATE * 100

    found = similarity(source, source @ known[:, :2].T + known[:, 2])

    np.testing.assert_allclose(found, known, rtol=1e-6, atol=1e-6)


@given(target=arrays(np.float64, (5, 2), elements=coordinates))
def test_whatever_the_target_it_is_never_mirrored_or_sheared(target):
    (a, b, _), (c, d, _) = similarity(TEMPLATE, target)

    np.testing.assert_allclose((a, b), (d, -c), atol=1e-9)


@given(target=arrays(np.float64, (5, 2), elements=coordinates), step=st.floats(0.01, 1))
def test_no_other_similarity_fits_better(target, step):
    fitted = similarity(TEMPLATE, target)
    residual = np.square(TEMPLATE @ fitted[:, :2].T + fitted[:, 2] - target).sum()

    for turn in (np.array([[1, 0, 0], [0, 1, 0]]), np.array([[0, -1, 0], [1, 0, 0]])):
        other = fitted + step * turn
        assert np.square(TEMPLATE @ other[:, :2].T + other[:, 2] - target).sum() >= residual


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_points_that_fall_into_one_are_refused(value):
    with pytest.raises(DataError, match="span no face"):
        similarity(np.full((5, 2), value), TEMPLATE)


def test_five_points_are_means_and_members_of_the_68():
    points = np.arange(136, dtype=np.float32).reshape(1, 68, 2)

    five = five_points(points)

    expected = [points[0, i] for i in (30, 48, 54)]
    np.testing.assert_array_equal(five[0, :2], [(77, 78), (89, 90)])
    np.testing.assert_array_equal(five[0, 2:], expected)
