import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.config import ClipConfig
from fer_core.errors import ConfigError, DataError, WeightsError
from fer_core.faces import landmarks, video
from fer_core.faces.align import five_points

STILL = ClipConfig(frames=1)


@pytest.fixture(scope="module")
def dlib():
    return landmarks.engine("dlib")


def numbered(frames):
    """Make frames that tell their index by their level."""
    return np.stack([np.full((4, 4, 3), i, np.uint8) for i in range(frames)])


def finder(levels):
    """Find points only in frames of these levels: all 68 at (level, 2 x level)."""

    def find(image):
        level = int(image[0, 0, 0])
        return np.full((68, 2), (level, 2 * level), np.float32) if level in levels else None

    return find


@pytest.mark.parametrize(
    "name", ["stills/lisa_lisa1.jpg", "stills/zoom_15cm.jpg", "stills/zoom_60cm.jpg"]
)
def test_dlib_finds_the_features_of_a_face_in_their_order(shared_data, dlib, name):
    image = video.read(shared_data / name, STILL).images[0]

    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(dlib(image))

    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_dlib_agrees_with_points_placed_by_hand(shared_data, dlib):
    folder = shared_data / "london480" / "neutral"
    errors = []
    for path in sorted(folder.glob("*.jpg"))[:10]:
        hand = np.loadtxt(path.with_suffix(".pts189.txt"))[:2]  # the pupils
        eyes = five_points(dlib(video.read(path, STILL).images[0]))[:2]
        distance = np.linalg.norm(hand[1] - hand[0])
        errors.append(np.linalg.norm(eyes - hand, axis=1).mean() / distance)

    assert np.mean(errors) < 0.06  # an eye's centre is not quite its pupil


@pytest.mark.parametrize("factor", [0.5, 4])
def test_dlib_finds_the_same_points_in_a_small_and_a_large_image(shared_data, dlib, factor):
    image = video.read(shared_data / "stills" / "zoom_30cm.jpg", STILL).images[0]
    other = cv2.resize(image, None, fx=factor, fy=factor)

    points, scaled = dlib(image), dlib(other) / factor

    size = np.ptp(points, axis=0).max()
    assert np.abs(points - scaled).mean() < 0.03 * size


def test_dlib_finds_no_face_where_there_is_none(dlib):
    assert dlib(np.zeros((200, 200, 3), np.uint8)) is None


def test_the_large_central_face_is_the_main_one():
    corner, centre, small = (0, 0, 50, 50), (70, 70, 130, 130), (95, 95, 105, 105)

    assert landmarks.main_face([corner, small, centre], (200, 200, 3)) == 2


def test_a_real_clip_is_tracked(shared_data, dlib):
    frames = video.read(shared_data / "video" / "1001_DFA_HAP_XX.flv", ClipConfig(frames=3))

    points, found = landmarks.track(frames.images, dlib)

    assert (points.shape, points.dtype, found) == ((3, 68, 2), np.float32, 3)


@given(levels=st.sets(st.integers(0, 9), min_size=1))
def test_a_frame_without_a_face_borrows_from_its_neighbours(levels):
    points, found = landmarks.track(numbered(10), finder(levels))

    expected = np.clip(np.arange(10), min(levels), max(levels))
    assert found == len(levels)
    np.testing.assert_allclose(points[:, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(points[:, 67, 1], 2 * expected, rtol=1e-6)


def test_a_repeated_frame_is_searched_once():
    searched = []

    def find(image):
        searched.append(image)
        return np.zeros((68, 2), np.float32)

    _, found = landmarks.track(np.zeros((5, 4, 4, 3), np.uint8), find)

    assert (len(searched), found) == (1, 5)


def test_a_clip_without_any_face_is_refused():
    with pytest.raises(DataError, match="no face found in 10 frames"):
        landmarks.track(numbered(10), finder(set()))


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"did you mean 'dlib'.*face_alignment"):
        landmarks.engine("dlip")


def test_face_alignment_without_its_weights_names_file_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(WeightsError, match=r"2DFAN4-11f355bf06\.pth\.tar is not in .*checkpoints"):
        landmarks.engine("face_alignment")
