import hashlib

import numpy as np
import pytest

from fer_core.errors import ConfigError
from fer_core.faces.align import CROP_PIXELS, TEMPLATE, five_points
from fer_core.faces.frontal import mean_face
from fer_core.faces.frontal.surface import MIRROR_SUM, MIRRORED, WINDOW, load, reference
from tests.fer_core.faces.frontal.meshes import written_obj

FLIP = [-1, 1, 1]


def mirror(grid):
    """Show each pixel of a view what lies on the other side of the midline."""
    columns = (MIRROR_SUM - np.arange(CROP_PIXELS)) % CROP_PIXELS
    return grid[:, columns]


@pytest.fixture(scope="module", params=["reference", "ict", "obj"])
def surface(request, tmp_path_factory):
    if request.param == "reference":
        return reference()
    if request.param == "obj":
        return load(written_obj(tmp_path_factory.mktemp("surface")))
    return load(request.getfixturevalue("shared_data") / "surface" / "ict_face.npz")


def test_a_surface_is_its_own_mirror_image(surface):
    np.testing.assert_array_equal(surface.mask, mirror(surface.mask))
    np.testing.assert_allclose(surface.points, mirror(surface.points) * FLIP, atol=1e-9)
    np.testing.assert_allclose(surface.normals, mirror(surface.normals) * FLIP, atol=1e-9)
    np.testing.assert_allclose(surface.landmarks, surface.landmarks[MIRRORED] * FLIP, atol=1e-9)


def test_its_five_points_stand_where_the_template_has_them(surface):
    five = five_points(surface.frame.project(surface.landmarks))

    away = np.linalg.norm(five - TEMPLATE * CROP_PIXELS, axis=1)
    assert away.max() < 0.04 * CROP_PIXELS
    assert away[:2].max() < 0.02 * CROP_PIXELS


def test_each_pixel_shows_the_point_that_the_frontal_camera_sees_there(surface):
    rows, columns = np.nonzero(surface.mask)

    seen = surface.frame.project(surface.points[rows, columns])

    np.testing.assert_allclose(seen, np.column_stack([columns, rows]), atol=1e-6)


def test_normals_are_of_unit_length_and_point_to_the_camera(surface):
    normals = surface.normals[surface.mask]

    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert normals[:, 2].min() > 0


def test_the_mask_holds_the_face_and_lies_in_the_window(surface):
    outside = surface.mask.copy()
    outside[WINDOW] = False
    inner = np.rint(surface.frame.project(surface.landmarks[17:])).astype(int)

    assert not outside.any()
    assert surface.mask[inner[:, 1], inner[:, 0]].all()


def test_the_reference_lies_on_the_mean_face():
    surface = reference()
    points = surface.points[surface.mask]

    np.testing.assert_allclose(mean_face.height(points[:, :2]), points[:, 2], atol=1e-3)
    assert surface.sha256 == hashlib.sha256(mean_face.points().tobytes()).hexdigest()


def face(folder, *, landmarks=None, vertices=None):
    """Write our own surface as a user's: other unit, other axes, other place."""
    lie = np.array([[0, 0, -30.0], [30, 0, 0], [0, -30, 0]])  # z, x, y; one of them mirrored
    points = reference().points[reference().mask][::7] @ lie + 5
    marks = mean_face.landmarks() @ lie + 5 if landmarks is None else landmarks @ lie + 5
    path = folder / "face.npz"
    np.savez(path, vertices=points if vertices is None else vertices, landmarks=marks)
    return path


def test_a_surface_may_lie_in_any_axes_and_unit(tmp_path):
    surface = load(face(tmp_path))

    both = surface.mask & reference().mask
    away = np.abs(surface.points - reference().points)[both]
    assert both.sum() > 0.95 * reference().mask.sum()
    assert np.median(away) < 0.002
    np.testing.assert_allclose(surface.landmarks, mean_face.landmarks(), atol=1e-9)


def test_surfaces_are_told_apart_by_what_is_in_their_files(tmp_path):
    first = load(face(tmp_path)).sha256
    lower = mean_face.landmarks() * [1, 1.001, 1]

    assert load(face(tmp_path)).sha256 == first
    assert load(face(tmp_path, landmarks=lower)).sha256 != first


def test_the_landmarks_beside_a_mesh_are_part_of_what_it_is(tmp_path):
    path = written_obj(tmp_path)
    first, again = load(path).sha256, load(path).sha256
    marks = np.loadtxt(path.with_suffix(".landmarks.txt"), dtype=int)
    marks[8] = marks[0] - 1  # the chin: another vertex

    np.savetxt(path.with_suffix(".landmarks.txt"), marks, fmt="%d")

    assert again == first
    assert load(path).sha256 != first


def test_a_lopsided_surface_is_refused(tmp_path):
    landmarks = mean_face.landmarks().copy()
    landmarks[48, 1] += 0.1

    with pytest.raises(ConfigError, match=r"not symmetric: a landmark lies 0\.\d+ outer-eye"):
        load(face(tmp_path, landmarks=landmarks))


@pytest.mark.parametrize("order", [slice(None, None, -1), [0] * 68])
def test_landmarks_in_another_order_are_refused(tmp_path, order):
    with pytest.raises(ConfigError, match="form no face in iBUG's order"):
        load(face(tmp_path, landmarks=mean_face.landmarks()[order]))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"vertices": np.zeros((9, 3))}, id="no_landmarks"),
        pytest.param({"vertices": np.zeros((9, 3)), "landmarks": np.arange(68)}, id="out_of_range"),
        pytest.param({"vertices": np.zeros((9, 3)), "landmarks": np.zeros((5, 3))}, id="five"),
        pytest.param(
            {"vertices": np.full((9, 3), np.nan), "landmarks": np.zeros(68, int)}, id="nan"
        ),
    ],
)
def test_a_file_that_holds_no_surface_is_refused_with_what_is_wanted(tmp_path, content):
    path = tmp_path / "face.npz"
    np.savez(path, **content)

    with pytest.raises(ConfigError, match=r"face\.npz cannot be read: .*; it must be \.npz with"):
        load(path)


@pytest.mark.parametrize("name", ["none.npz", "none.obj", "text.npz"])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name):
    (tmp_path / "text.npz").write_text("no surface")

    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"text"])
def test_what_is_no_archive_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "face.npz"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"surface .*face\.npz cannot be read"):
        load(path)


def test_points_that_are_not_finite_or_too_few_are_refused(tmp_path):
    landmarks = mean_face.landmarks().copy()
    with pytest.raises(ConfigError, match="has only 5 vertices on its front side; at least 68"):
        load(face(tmp_path, vertices=landmarks[:5], landmarks=landmarks))
    landmarks[3, 1] = np.nan
    with pytest.raises(ConfigError, match="not finite"):
        load(face(tmp_path, landmarks=landmarks))
