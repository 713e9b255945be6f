import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import DataError
from fer_core.faces.follow import (
    CUT_PIXELS,
    FOUND,
    INTERPOLATED,
    LEFT_OUT,
    LONGEST_GAP,
    cut,
    follow,
    join_points,
)
from fer_core.faces.frontal import mean_face
from fer_core.faces.landmarks import Finder

FACE = (mean_face.landmarks()[:, :2] * 100 + 300).astype(np.float32)


class LevelEngine:
    """Sees a face in frames of the given grey levels, moved by a hundredth of the level."""

    def __init__(self, levels):
        self.levels, self.searched = levels, []

    def boxes(self, image):
        level = int(image[0, 0, 0])
        self.searched.append(level)
        return [(0.0, 0.0, 3.0, 3.0)] if level in self.levels else []

    def points(self, image, box):
        return image[0, 0, 0] / np.float32(100) + 3 * np.eye(68, 2, dtype=np.float32)


def numbered(levels):
    """Yield frames that tell their level."""
    for level in levels:
        yield np.full((4, 4, 3), level, np.uint8)


def followed(levels, total):
    return list(follow(numbered(range(total)), Finder(LevelEngine(levels))))


@given(levels=st.sets(st.integers(0, 59)))
def test_every_frame_comes_out_once_and_in_order_and_is_accounted_for(levels):
    seen = followed(levels, 60)

    assert [s.image[0, 0, 0] for s in seen] == list(range(60))
    assert {i for i, s in enumerate(seen) if s.state == FOUND} == levels
    for i, s in enumerate(seen):
        before = [level for level in levels if level < i]
        after = [level for level in levels if level > i]
        if s.state == INTERPOLATED:
            assert min(after) - max(before) - 1 <= LONGEST_GAP
        assert (s.points is None) == (s.state == LEFT_OUT)


@given(gap=st.integers(1, LONGEST_GAP))
def test_a_short_gap_is_bridged_by_a_straight_line(gap):
    seen = followed({0, gap + 1}, gap + 2)

    assert [s.state for s in seen[1:-1]] == [INTERPOLATED] * gap
    np.testing.assert_allclose([s.points[5, 0] for s in seen], np.arange(gap + 2) / 100, atol=1e-6)


def test_frames_of_a_long_gap_and_of_both_ends_are_left_out():
    levels = {3, 4, 4 + LONGEST_GAP + 2}

    states = [s.state for s in followed(levels, 30)]

    assert [i for i, state in enumerate(states) if state == FOUND] == sorted(levels)
    assert INTERPOLATED not in states


class TwoFaces:
    """A large face on the left, missed in one frame, and a small one on the right."""

    def __init__(self, missed):
        self.missed = missed

    def boxes(self, image):
        left = [] if image[0, 0, 0] in self.missed else [(10.0, 10.0, 50.0, 50.0)]
        return [*left, (70.0, 10.0, 90.0, 30.0)] if image.shape[1] == 100 else left

    def points(self, image, box):
        return np.array([box[:2], box[2:]] * 34, np.float32)


def test_a_bystander_does_not_take_the_place_of_a_face_that_is_missed():
    frames = (np.full((60, 100, 3), i, np.uint8) for i in range(12))

    seen = list(follow(frames, Finder(TwoFaces(missed={5}))))

    assert [s.state for s in seen] == [FOUND] * 5 + [INTERPOLATED] + [FOUND] * 6
    np.testing.assert_array_equal([s.points[0, 0] for s in seen], [10] * 12)


def test_a_frame_equal_to_the_one_before_is_not_searched_again():
    engine = LevelEngine({7})

    seen = list(follow(numbered([7, 7, 7, 8, 8]), Finder(engine)))

    assert [s.state for s in seen] == [FOUND, FOUND, FOUND, LEFT_OUT, LEFT_OUT]
    assert engine.searched.count(7) == 1


def test_points_that_come_along_are_joined_to_their_frames():
    points = np.stack([FACE, np.full_like(FACE, np.nan), FACE + 1])

    seen = list(join_points(numbered(range(3)), points))

    assert [s.state for s in seen] == [FOUND, LEFT_OUT, FOUND]
    np.testing.assert_array_equal(seen[2].points, FACE + 1)


@pytest.mark.parametrize("total", [2, 4])
def test_more_or_fewer_points_than_frames_are_refused(total):
    with pytest.raises(DataError, match=rf"landmarks cover 3 frames, but the clip has {total}"):
        list(join_points(numbered(range(total)), np.stack([FACE] * 3)))


@pytest.mark.parametrize("size", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("corner", [(0, 0), (-20, -30), (500, 300)])
def test_what_lies_at_a_point_of_the_frame_lies_at_the_same_point_of_the_cut(size, corner):
    points = (FACE - FACE.min(axis=0)) * size + np.float32(corner)
    image = np.zeros((900, 1000, 3), np.uint8)
    inside = (points > 9 * size).all(axis=1) & (points < np.array([1000, 900]) - 9 * size).all(
        axis=1
    )
    marked = points[[n for n in (36, 45, 33) if inside[n]]]
    for x, y in marked:
        cv2.circle(image, (round(float(x)), round(float(y))), round(6 * size), (255,) * 3, -1)

    square = cut(image, points)

    picture = cv2.imdecode(np.frombuffer(square.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(picture.shape) <= CUT_PIXELS
    for point in marked:
        x, y = (point - (square.left, square.top) + 0.5) * square.scale - 0.5
        assert picture[round(y), round(x)].min() > 200


def test_a_small_face_is_not_enlarged():
    square = cut(np.zeros((700, 800, 3), np.uint8), FACE / 4)

    assert square.scale == 1


@pytest.mark.parametrize(
    ("points", "reason"),
    [(np.full((68, 2), 5.0), "too close together"), (FACE / 4 + 9000, "lie outside the frame")],
)
def test_points_that_are_no_face_of_the_frame_are_refused(points, reason):
    with pytest.raises(DataError, match=reason):
        cut(np.zeros((100, 100, 3), np.uint8), points.astype(np.float32))
