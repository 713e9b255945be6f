import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.config import GIVEN
from fer_core.config import VIEWS as CONFIG_VIEWS
from fer_core.errors import DataError
from fer_core.faces import landmarks
from fer_core.faces.align import TEMPLATE, five_points
from fer_core.faces.frontal import mean_face
from fer_core.faces.views import CROP_PIXELS, VIEWS, aligned, crop, crop_matrix, resized, views

BY_POINTS = sorted(set(VIEWS) - {GIVEN})  # the views that show the face at its landmarks


def drawn_face(side, *, angle=0.0):
    """Draw five dots where the template has them, turned about the image's centre."""
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1)
    five = (TEMPLATE * side) @ turn[:, :2].T + turn[:, 2]
    image = np.zeros((side, side, 3), np.uint8)
    for x, y in five:
        cv2.circle(image, (round(x), round(y)), side // 30, (255, 255, 255), -1)
    points = np.zeros((68, 2), np.float32)
    points[36:42], points[42:48] = five[0], five[1]
    points[[30, 48, 54]] = five[2:]
    return image, points


def test_every_view_that_a_config_may_name_is_there():
    assert set(VIEWS) == set(CONFIG_VIEWS)


@pytest.mark.parametrize("side", [100, 224, 1500])
@pytest.mark.parametrize("angle", [0.0, 35.0, 180.0])
def test_features_come_to_lie_on_the_template(side, angle):
    image, points = drawn_face(side, angle=angle)

    crop = aligned(image, points)

    dots = [tuple(dot) for dot in np.rint(TEMPLATE * CROP_PIXELS).astype(int)]
    assert crop.shape == (CROP_PIXELS, CROP_PIXELS, 3)
    assert min(crop[y, x].min() for x, y in dots) > 200
    assert crop.mean() < 30


@pytest.mark.parametrize("view", BY_POINTS)
def test_real_faces_are_whole_in_every_view(shared_data, view):
    finder = landmarks.load_finder("dlib")
    images = [photograph(path) for path in sorted((shared_data / "stills").glob("*.jpg"))[::2]]

    shown = views(images, np.stack([finder.search(image).points for image in images]), view=view)

    assert (shown.shape, shown.dtype) == ((len(images), CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
    for face in shown:
        found = finder.search(face).points
        assert found[17:].min() > 0  # a frontal view ends at the jaw
        assert found[17:].max() < CROP_PIXELS
        if view != "crop":
            errors = np.linalg.norm(five_points(found) - TEMPLATE * CROP_PIXELS, axis=1)
            assert errors.mean() < 0.05 * CROP_PIXELS


def photograph(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


faces = st.tuples(st.floats(-180, 180), st.floats(20, 400), st.floats(-100, 700))


@given(face=faces)
@settings(deadline=None)
def test_a_crop_holds_all_points_whatever_the_face_s_turn_size_and_place(face):
    angle, size, x = face
    turn = cv2.getRotationMatrix2D((0, 0), angle, size)[:, :2]
    points = mean_face.landmarks()[:, :2] @ turn.T + (x, 200)
    image = np.full((400, 500, 3), 200, np.uint8)

    matrix = crop_matrix(points)

    placed = points @ matrix[:, :2].T + matrix[:, 2]
    margin = 0.02 * CROP_PIXELS
    assert margin < placed.min()
    assert placed.max() < CROP_PIXELS - margin
    assert (matrix[0, 1], matrix[1, 0]) == pytest.approx((0, 0), abs=1e-9)
    assert crop(image, points).shape == (CROP_PIXELS, CROP_PIXELS, 3)


def test_a_crop_is_upright_and_shows_the_forehead():
    points = mean_face.landmarks()[:, :2] * 100 + 200
    image = np.zeros((500, 500, 3), np.uint8)
    image[: int(points[:, 1].min()) - 12] = 255  # what lies above the brows

    shown = crop(image, points)

    assert shown[:20].min() == 255
    assert (shown == shown[:, :1]).all()


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_images_may_differ_in_size_and_each_is_shown_as_if_alone(view):
    images, points = zip(*(rendered_face(side) for side in (120, 200, 333)), strict=True)

    together = views(images, np.stack(points), view=view)

    for row, (image, face) in enumerate(zip(images, points, strict=True)):
        alone = views([image], face[None], view=view)[0]
        assert np.abs(together[row].astype(int) - alone).max() <= 1


def rendered_face(side):
    """Draw the mean face's points as dots in an image of that side."""
    points = (mean_face.landmarks()[:, :2] + (1.0, 0.7)) * side / 2.2
    image = np.full((side, side + 31, 3), 120, np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 2, (250, 250, 250), -1)
    return image, points


@pytest.mark.parametrize("view", BY_POINTS)
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_points_of_no_face_are_refused_by_every_view(view, value):
    image, _ = rendered_face(100)

    with pytest.raises(DataError, match="face"):
        views([image], np.full((1, 68, 2), value), view=view)


def test_a_frontal_face_lies_alike_in_aligned_and_frontal_views():
    image, points = rendered_face(300)

    aligned_view, frontal_view = (
        views([image], points[None], view=view)[0] for view in ("aligned", "frontal")
    )

    inner = np.abs(aligned_view[40:200, 60:160].astype(int) - frontal_view[40:200, 60:160])
    assert np.median(inner) < 3


def test_views_that_are_not_frontal_are_made_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from fer_core.faces.views import views\n"
        "image, points = np.zeros((99, 99, 3), np.uint8), np.random.rand(1, 68, 2)\n"
        "views([image], points, view='crop'), views([image], points, view='aligned')\n"
        "print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("crop_pixels", [96, CROP_PIXELS])
def test_crops_come_to_the_side_that_a_backbone_reads(crop_pixels):
    crops = np.full((2, CROP_PIXELS, CROP_PIXELS, 3), 77, np.uint8)

    small = resized(crops, crop_pixels)

    assert (small.shape, small.min(), small.max()) == ((2, crop_pixels, crop_pixels, 3), 77, 77)
