import cv2
import numpy as np
import pytest

from fer_core.config import VIEWS as CONFIG_VIEWS
from fer_core.faces import landmarks, video
from fer_core.faces.align import TEMPLATE, five_points
from fer_core.faces.views import CROP_PIXELS, VIEWS, aligned, resized, views


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

    dots = [tuple(at) for at in np.rint(TEMPLATE * CROP_PIXELS).astype(int)]
    assert crop.shape == (CROP_PIXELS, CROP_PIXELS, 3)
    assert min(crop[y, x].min() for x, y in dots) > 200
    assert crop.mean() < 30


def test_real_faces_are_whole_in_the_crop(shared_data):
    find = landmarks.engine("dlib")
    paths = sorted((shared_data / "stills").glob("*.jpg"))
    for path in paths[::2]:
        image = next(video.frames(path))

        crop = aligned(image, find(image))

        found = find(crop)
        errors = np.linalg.norm(five_points(found) - TEMPLATE * CROP_PIXELS, axis=1)
        assert errors.mean() < 0.05 * CROP_PIXELS
        assert found.min() > 0
        assert found.max() < CROP_PIXELS


def test_a_clip_becomes_one_crop_a_frame():
    image, points = drawn_face(120)

    crops = views(np.stack([image] * 3), np.stack([points] * 3))

    np.testing.assert_array_equal(crops, np.stack([aligned(image, points)] * 3))


@pytest.mark.parametrize("crop_pixels", [96, CROP_PIXELS])
def test_crops_come_to_the_side_that_a_backbone_reads(crop_pixels):
    crops = np.full((2, CROP_PIXELS, CROP_PIXELS, 3), 77, np.uint8)

    small = resized(crops, crop_pixels)

    assert (small.shape, small.min(), small.max()) == ((2, crop_pixels, crop_pixels, 3), 77, 77)
