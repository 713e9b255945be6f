import itertools

import cv2
import numpy as np
import pytest
import torch

from fer_core.errors import ConfigError, WeightsError
from fer_core.faces import landmarks, video
from fer_core.faces.align import five_points


@pytest.fixture(scope="module")
def dlib():
    return landmarks.load_finder("dlib")


def points_in(image, finder):
    """The 68 points of the largest central face."""
    return finder.search(image).points


@pytest.mark.parametrize(
    "name", ["stills/lisa_lisa1.jpg", "stills/zoom_15cm.jpg", "stills/zoom_60cm.jpg"]
)
def test_dlib_finds_the_features_of_a_face_in_their_order(shared_data, dlib, name):
    image = next(video.frames(shared_data / name))

    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(points_in(image, dlib))

    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_dlib_agrees_with_points_placed_by_hand(shared_data, dlib):
    folder = shared_data / "london480" / "neutral"
    errors = []
    for path in sorted(folder.glob("*.jpg"))[:10]:
        hand = np.loadtxt(path.with_suffix(".pts189.txt"))[:2]  # the pupils
        eyes = five_points(points_in(next(video.frames(path)), dlib))[:2]
        distance = np.linalg.norm(hand[1] - hand[0])
        errors.append(np.linalg.norm(eyes - hand, axis=1).mean() / distance)

    assert np.mean(errors) < 0.06  # an eye's centre is not quite its pupil


@pytest.mark.parametrize("factor", [0.5, 4])
def test_dlib_finds_the_same_points_in_a_small_and_a_large_image(shared_data, dlib, factor):
    image = next(video.frames(shared_data / "stills" / "zoom_30cm.jpg"))
    other = cv2.resize(image, None, fx=factor, fy=factor)

    points, scaled = points_in(image, dlib), points_in(other, dlib) / factor

    size = np.ptp(points, axis=0).max()
    assert np.abs(points - scaled).mean() < 0.03 * size


def test_dlib_finds_no_face_where_there_is_none(dlib):
    assert dlib.search(np.zeros((200, 200, 3), np.uint8)) is None


def test_the_large_central_face_is_the_main_one():
    corner, centre, small = (0, 0, 50, 50), (70, 70, 130, 130), (95, 95, 105, 105)

    assert landmarks.main_face([corner, small, centre], (200, 200, 3)) == 2


def test_a_face_is_found_where_it_was_last_seen_with_much_the_same_points(shared_data, dlib):
    images = list(video.frames(shared_data / "video" / "1001_DFA_HAP_XX.flv"))[:20]
    errors = []

    for before, image in itertools.pairwise(images):
        whole, near = points_in(image, dlib), dlib.search(image, points_in(before, dlib)).points
        errors.append(np.abs(whole - near).mean() / np.ptp(whole))

    assert np.max(errors) < 0.02


def test_a_face_that_has_moved_is_found_but_one_far_away_or_of_another_size_is_not_it(
    shared_data, dlib
):
    image = next(video.frames(shared_data / "stills" / "zoom_60cm.jpg"))
    points = points_in(image, dlib)
    centre, side = points.mean(axis=0), np.ptp(points, axis=0).max()

    moved = dlib.search(image, points + np.float32([0.7 * side, 0]))

    assert np.abs(moved.points - points).mean() < 0.03 * side
    assert dlib.search(image, points + 2 * side) is None
    assert dlib.search(image, points + 50 * side) is None  # outside the image
    assert dlib.search(image, (points - centre) / 5 + centre) is None


def test_of_two_faces_the_followed_one_is_kept_and_the_other_counted(shared_data, dlib):
    face = next(video.frames(shared_data / "stills" / "zoom_60cm.jpg"))
    small = cv2.resize(face, None, fx=0.8, fy=0.8)
    pair = np.zeros((face.shape[0], face.shape[1] + small.shape[1], 3), np.uint8)
    pair[:, : face.shape[1]] = face
    pair[: small.shape[0], face.shape[1] :] = small
    right = points_in(small, dlib) + np.float32([face.shape[1], 0])

    main, followed = dlib.search(pair), dlib.search(pair, right)

    assert main.others == 1
    assert main.points[:, 0].max() < face.shape[1]
    assert followed.points[:, 0].min() > face.shape[1]


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"did you mean 'dlib'.*face_alignment"):
        landmarks.load_finder("dlip")


def test_face_alignment_without_its_weights_names_file_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(WeightsError, match=r"2DFAN4-11f355bf06\.pth\.tar is not in .*checkpoints"):
        landmarks.load_finder("face_alignment")


def test_without_the_weights_of_face_alignment_dlib_is_the_best_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    before = landmarks.best_engine()

    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for file in landmarks.FACE_ALIGNMENT_FILES:
        (checkpoints / file).touch()

    assert (before, landmarks.best_engine()) == ("dlib", "face_alignment")


@pytest.mark.slow
def test_face_alignment_runs_on_its_weights_from_the_folder_alone(tmp_path, monkeypatch):
    """Stand-in weights: the plumbing works, the points mean nothing."""
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for net, file in zip((FAN(4), s3fd()), landmarks.FACE_ALIGNMENT_FILES, strict=True):
        torch.save(net.state_dict(), checkpoints / file)
    engine = landmarks.FaceAlignment("cpu")
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)

    boxes, points = engine.boxes(image), engine.points(image, (40.0, 20.0, 120.0, 100.0))

    assert all(len(box) == 4 for box in boxes)
    assert (points.shape, points.dtype) == ((68, 2), np.float32)
