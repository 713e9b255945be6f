import numpy as np
import pytest

from fer_core.faces.frontal import mean_face

FLIP = [-1, 1, 1]


def grid():
    """Places over the face, away from its border."""
    y, x = np.mgrid[-0.6:1.0:60j, -0.55:0.55:50j]
    return np.column_stack([x.ravel(), y.ravel()])


def test_the_face_is_its_own_mirror_image():
    landmarks = mean_face.landmarks()
    other_half = [mean_face.mirrored(landmark) for landmark in range(68)]

    np.testing.assert_allclose(landmarks[other_half] * FLIP, landmarks)


def test_mirroring_twice_is_nothing_and_the_midline_stays():
    twice = [mean_face.mirrored(mean_face.mirrored(landmark)) for landmark in range(68)]
    fixed = [landmark for landmark in range(68) if mean_face.mirrored(landmark) == landmark]

    assert twice == list(range(68))
    assert fixed == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_the_unit_is_the_distance_between_the_outer_corners_of_the_eyes():
    right, left = mean_face.landmarks()[[36, 45]]

    np.testing.assert_allclose(left - right, [1, 0, 0])


def test_the_tip_of_the_nose_is_nearest_to_the_camera_and_the_ears_farthest():
    depths = mean_face.landmarks()[:, 2]

    assert depths.argmax() == 30
    assert set(np.argsort(depths)[:2]) == {0, 16}


def test_the_surface_passes_through_its_control_points():
    controls = mean_face.points()[mean_face.controls()]

    np.testing.assert_allclose(mean_face.height(controls[:, :2]), controls[:, 2], atol=1e-9)


def test_the_surface_is_symmetric():
    places = grid()

    np.testing.assert_allclose(
        mean_face.height(places), mean_face.height(places * [-1, 1]), atol=1e-9
    )


def test_the_surface_never_rises_above_the_nose_nor_overhangs():
    heights = mean_face.height(grid()).reshape(60, 50)

    assert heights.max() <= mean_face.landmarks()[30, 2] + 0.01
    slopes = np.abs(np.diff(heights, axis=0)) / (1.6 / 59)
    assert slopes.max() < 3


def test_interpolation_carries_an_affine_map_without_error():
    controls = mean_face.points()[mean_face.controls()]
    affine = np.array([[1.1, 0.2], [-0.1, 0.9]])
    places = grid()

    carried = mean_face.interpolation(places) @ (controls[:, :2] @ affine + [0.3, -0.2])

    np.testing.assert_allclose(carried, places @ affine + [0.3, -0.2], atol=1e-8)


def test_the_outline_goes_once_around_the_face():
    x, y = mean_face.points()[mean_face.outline()][:, :2].T
    angles = np.unwrap(np.arctan2(y - 0.1, x))

    steps = np.diff(np.append(angles, angles[0] - 2 * np.pi))
    assert (steps < 0).all()


def test_the_points_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        mean_face.points()[0, 0] = 1.0
