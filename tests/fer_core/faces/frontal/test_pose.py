import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.data.labels import AUTHENTICITIES
from fer_core.errors import DataError
from fer_core.faces import landmarks
from fer_core.faces.frontal.pose import Pose, estimate
from fer_core.faces.frontal.surface import reference
from fer_core.synthetic import action_units, camera, painter, script

TOLERANCE = 3.0  # degrees, median, for yaw and pitch up to 30
SEED = 7


def rotation(*angles):
    """Head to camera for yaw, pitch and roll in degrees, as the project's renderer turns."""
    return camera._rotation(*np.radians(angles))


def seen(angles, *, zoom=110.0, origin=(160.0, 130.0)):
    """The reference surface's own points under a known pose."""
    pose = Pose(
        torch.tensor(np.array([rotation(*angles)])),
        torch.tensor([zoom]).double(),
        torch.tensor([origin]).double(),
    )
    return pose.project(torch.tensor(reference().landmarks.copy())).numpy()


def rendered(person, angles):
    """A frame of the project's renderer at the height of an expression, under another pose."""
    identity = script.subject_identity(SEED, person)
    emotion = sorted(action_units.PROTOTYPES)[person % len(action_units.PROTOTYPES)]
    whole = script.write_script(SEED, person, emotion, AUTHENTICITIES[0], identity=identity)
    frame = slice(len(whole.points) // 2, len(whole.points) // 2 + 1)
    shot = dataclasses.replace(
        whole.shot, rotations=rotation(*angles)[None], origins=whole.shot.origins[frame]
    )
    return dataclasses.replace(
        whole, points=whole.points[frame], units=whole.units[frame], shot=shot
    )


def draw_angles(count, *, limits=(30, 30, 15)):
    return np.random.default_rng(0).uniform(-1, 1, size=(count, 3)) * limits


def degrees(pose):
    """Yaw, pitch and roll (B, 3) of poses, signed as in the project's renderer.

    Positive if the nose turns to the picture's right, if it rises, and if the head tips clockwise;
    the head yaws first and rolls last. All are relative to the line of sight.
    """
    r = pose.rotation
    yaw = torch.atan2(-r[:, 2, 0], r[:, 2, 2])
    pitch = torch.asin(r[:, 2, 1].clamp(-1, 1))
    roll = torch.atan2(-r[:, 0, 1], r[:, 1, 1])
    return torch.rad2deg(torch.stack([yaw, pitch, roll], dim=1)).numpy()


def errors(points, angles):
    """Median error of yaw and pitch, in degrees."""
    found = degrees(estimate(np.stack(points), reference()))
    away = np.median(np.abs(found - angles), axis=0)
    print(f"median error: yaw {away[0]:.2f}, pitch {away[1]:.2f} degrees of {len(angles)} faces")
    return away[:2]


angle = st.floats(-60, 60)


@settings(deadline=None)  # the first example makes the reference surface
@given(yaw=angle, pitch=angle, roll=angle, zoom=st.floats(5, 2000), x=st.floats(-3000, 3000))
def test_the_surfaces_own_points_give_back_their_pose(yaw, pitch, roll, zoom, x):
    points = seen((yaw, pitch, roll), zoom=zoom, origin=(x, 5.0))

    pose = estimate(points, reference())

    np.testing.assert_allclose(degrees(pose), [(yaw, pitch, roll)], atol=0.01)
    np.testing.assert_allclose(pose.zoom.numpy(), zoom, rtol=1e-4)
    np.testing.assert_allclose(pose.origin.numpy(), [(x, 5.0)], atol=0.01 * zoom)


def test_a_face_has_the_same_pose_alone_as_among_others():
    points = np.concatenate([seen(angles) for angles in draw_angles(5)])

    together = estimate(points, reference()).rotation

    alone = torch.cat([estimate(points[i : i + 1], reference()).rotation for i in range(5)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(
    ("angles", "landmark", "axis", "sign"),
    [((20, 0, 0), 30, 0, 1), ((0, 20, 0), 30, 1, -1), ((0, 0, 20), 45, 1, 1)],
    ids=["yaw_turns_the_nose_right", "pitch_raises_it", "roll_lowers_the_right_of_the_picture"],
)
def test_signs_are_as_documented(angles, landmark, axis, sign):
    moved = (seen(angles) - seen((0, 0, 0)))[0, landmark, axis]

    assert np.sign(moved) == sign
    np.testing.assert_allclose(degrees(estimate(seen(angles), reference()))[0], angles, atol=0.01)


def test_the_projects_renderer_gives_back_its_pose():
    angles = draw_angles(150)

    points = [rendered(person, turn).landmarks[0] for person, turn in enumerate(angles)]

    assert max(errors(points, angles)) < TOLERANCE


def test_the_ict_model_gives_back_its_pose_whoever_it_is_and_whatever_the_expression(ict):
    rng, angles = np.random.default_rng(1), draw_angles(150)
    points = []
    for row, turn in enumerate(angles):
        face = ict.face(rng, **(ict.grimace(rng) if row % 2 else {}))
        points.append(ict.points(face, ict.turn(*turn)))

    assert max(errors(points, angles)) < TOLERANCE


def test_dlib_s_points_on_the_projects_frames_tell_the_yaw():
    finder, angles = landmarks.load_finder("dlib"), draw_angles(30, limits=(25, 10, 10))
    clips = [painter.paint_clip(rendered(person, turn)) for person, turn in enumerate(angles)]
    frames = [next(iter(clip)) for clip in clips]

    faces = [finder.search(frame) for frame in frames]

    found = [row for row, face in enumerate(faces) if face is not None]
    yaw, pitch = errors([faces[row].points for row in found], angles[found])
    assert len(found) >= 28
    assert yaw < TOLERANCE
    assert pitch < 2 * TOLERANCE  # dlib draws chins and brows towards the mean face


def test_dlib_s_points_on_ict_s_frames_tell_the_yaw(ict):
    finder, rng = landmarks.load_finder("dlib"), np.random.default_rng(2)
    angles = draw_angles(40, limits=(30, 20, 10))
    turns = [ict.turn(*turn) for turn in angles]
    frames = [ict.render(ict.face(rng), turn, light=(0.3, -0.3, 1)) for turn in turns]

    faces = [finder.search(frame) for frame in frames]

    found = [row for row, face in enumerate(faces) if face is not None]
    yaw, pitch = errors([faces[row].points for row in found], angles[found])
    assert len(found) >= 38
    assert yaw < TOLERANCE
    assert pitch < 2 * TOLERANCE


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda points: points * 0, id="all_in_one"),
        pytest.param(lambda points: points * [1, 0], id="on_a_line"),
        pytest.param(lambda points: points * np.nan, id="not_a_number"),
        pytest.param(lambda points: points * [-1, 1], id="mirrored"),
    ],
)
def test_points_of_no_face_are_refused_and_never_give_nan(spoil):
    points = np.concatenate([seen((0, 0, 0)), spoil(seen((10, 0, 0)))])

    with pytest.raises(DataError, match="no head pose fits the landmarks of face 1"):
        estimate(points, reference())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_finds_the_same_pose():
    points = np.concatenate([seen(angles) for angles in draw_angles(5)])

    pose = estimate(points, reference(), device="cuda")

    torch.testing.assert_close(pose.rotation.cpu(), estimate(points, reference()).rotation)
