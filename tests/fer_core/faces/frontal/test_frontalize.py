from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.data.labels import AUTHENTICITIES
from fer_core.faces.align import CROP_PIXELS
from fer_core.faces.frontal.frontalize import frontal
from fer_core.faces.frontal.pose import estimate
from fer_core.faces.frontal.surface import MIRROR_SUM, load, reference
from fer_core.faces.views import aligned
from fer_core.synthetic import action_units, camera, painter, script

EYES = slice(55, 85)  # rows of the view that hold the eyes; they are not mirrored


def psnr(view, truth, mask):
    error = (view.astype(float) - truth)[mask]
    return 10 * np.log10(255**2 / np.mean(error**2))


@pytest.fixture(scope="module")
def turned(ict):
    """Ten people of the ICT model, half of them grimacing, turned by 20 to 30 degrees."""
    rng, made = np.random.default_rng(3), []
    for row in range(10):
        face = ict.face(rng, **(ict.grimace(rng) if row % 2 else {}))
        yaw, pitch = rng.uniform(20, 30) * rng.choice([-1, 1]), rng.uniform(-10, 10)
        made.append(shown(ict, face, yaw, pitch))
    return made


def shown(ict, face, yaw, pitch=0.0):
    """A face turned, its points, and its aligned view from the front, which is the truth."""
    turn, front = ict.turn(yaw, pitch), ict.turn(0, 0)
    truth = aligned(ict.render(face, front), ict.points(face, front))
    return ict.render(face, turn), ict.points(face, turn), truth


def gains(faces, symmetry):
    """By how many dB each frontal view is nearer to the truth than the aligned view is.

    Over the whole mask of the frontal view, forehead and outline included.
    """
    images, points, truths = zip(*faces, strict=True)
    mask = reference().mask
    views = frontal(images, np.stack(points), reference(), symmetry=symmetry)
    flat = [psnr(aligned(i, p), t, mask) for i, p, t in zip(images, points, truths, strict=True)]
    gain = np.array([psnr(v, t, mask) for v, t in zip(views, truths, strict=True)]) - flat
    print(f"{symmetry}: aligned {np.median(flat):.1f} dB, gain {np.median(gain):.1f} dB")
    return gain


@pytest.mark.parametrize("symmetry", ["none", "soft", "conditional"])
def test_a_turned_face_comes_nearer_to_its_frontal_rendering_than_aligned(turned, symmetry):
    gain = gains(turned, symmetry)

    assert np.median(gain) > 2
    assert gain.min() > 0


def painted(person, yaw, pitch):
    """A frame of the project's renderer at the height of an expression, and its points.

    The light turns with the head: this renderer shades skin, and a view cannot relight it.
    """
    identity = script.subject_identity(0, person)
    emotion = sorted(action_units.PROTOTYPES)[person % len(action_units.PROTOTYPES)]
    clip = script.write_script(0, person, emotion, AUTHENTICITIES[0], identity=identity)
    turn = camera._rotation(*np.radians((yaw, pitch, 0)))
    apex = slice(len(clip.points) // 2, len(clip.points) // 2 + 1)
    shot = replace(
        clip.shot,
        rotations=turn[None],
        origins=clip.shot.origins[apex],
        light=turn @ clip.shot.light,
    )
    noise = np.random.default_rng(5)
    clip = replace(clip, points=clip.points[apex], units=clip.units[apex], shot=shot, rng=noise)
    return next(iter(painter.paint_clip(clip))), clip.landmarks[0]


@pytest.mark.slow
@pytest.mark.parametrize(("symmetry", "least"), [("none", 1), ("soft", 2), ("conditional", 2)])
def test_so_does_a_face_of_the_projects_renderer(symmetry, least):
    """Without symmetry its hidden side shows hair and background, which costs it a decibel."""
    rng, faces = np.random.default_rng(0), []
    for person in range(1, 31):
        yaw, pitch = rng.uniform(20, 30) * rng.choice([-1, 1]), rng.uniform(-10, 10)
        faces.append((*painted(person, yaw, pitch), aligned(*painted(person, 0, 0))))

    assert np.median(gains(faces, symmetry)) > least


def half(mask, side):
    """The mask's left (-1) or right (1) half, eyes left out."""
    columns = np.arange(CROP_PIXELS)
    kept = mask & ((columns - MIRROR_SUM / 2) * side > 5)
    kept[EYES] = False
    return kept


@pytest.mark.parametrize("yaw", [-50, -40, 40, 50])
def test_soft_symmetry_brings_back_the_half_that_a_turn_hides(ict, yaw):
    image, points, truth = shown(ict, ict.face(), yaw)
    hidden = half(reference().mask, np.sign(yaw))

    raw, soft = (
        frontal([image], points[None], reference(), symmetry=symmetry)[0]
        for symmetry in ("none", "soft")
    )

    before, after = psnr(raw, truth, hidden), psnr(soft, truth, hidden)
    print(f"hidden half at {yaw} degrees: {before:.1f} dB raw, {after:.1f} dB soft")
    assert after > before + 4


def test_soft_symmetry_brings_back_what_lies_outside_the_image(ict):
    image, points, truth = shown(ict, ict.face(), 0)
    cut = int(points[27, 0]) + 30
    gone = half(reference().mask, 1) & (np.arange(CROP_PIXELS) > 150)

    raw, soft = (
        frontal([image[:, :cut]], points[None], reference(), symmetry=symmetry)[0]
        for symmetry in ("none", "soft")
    )

    assert raw[gone].max() == 0
    assert psnr(soft, truth, gone) > 20


@pytest.mark.parametrize("angles", [(0, 0), (8, 0), (-8, 0), (0, 20), (0, -20), (5, 10)])
def test_a_face_that_is_seen_whole_is_left_exactly_as_it_is(ict, angles):
    image, points, _ = shown(ict, ict.face(), *angles)
    spoilt = image.copy()
    spoilt[:, : image.shape[1] // 2] //= 2  # the halves differ, so that any mixing would show

    raw, soft, conditional = (
        frontal([spoilt], points[None], reference(), symmetry=symmetry)
        for symmetry in ("none", "soft", "conditional")
    )

    np.testing.assert_array_equal(soft, raw)
    np.testing.assert_array_equal(conditional, raw)


def test_the_gaze_is_not_mirrored(ict):
    face, turn = ict.face(), ict.turn(45, 0)
    image, points = ict.render(face, turn), ict.points(face, turn)
    x, y = points[36:42].mean(axis=0).round().astype(int)  # the eye that is seen well
    image[y - 2 : y + 3, x - 3 : x + 4] = (0, 255, 0)

    view = frontal([image], points[None], reference(), symmetry="soft")[0].astype(int)

    green = view[..., 1] - view[..., [0, 2]].max(axis=-1)
    assert green[:, :110].max() > 200
    assert green[:, 111:].max() < 30


def test_symmetry_is_refused_where_the_halves_do_not_look_alike(ict):
    image, points, _ = shown(ict, ict.face(), 35)
    x, y = points[48].astype(int)  # the corner of the mouth that is turned to the camera
    covered = image.copy()
    covered[y - 40 : y + 15, x - 25 : x + 45] = 10

    raw, soft, conditional = (
        frontal([image, covered], np.stack([points] * 2), reference(), symmetry=symmetry)
        for symmetry in ("none", "soft", "conditional")
    )

    assert (soft != raw).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(conditional[0], soft[0])
    np.testing.assert_array_equal(conditional[1], raw[1])


def test_a_frontal_face_looks_as_aligned(ict):
    image, points, truth = shown(ict, ict.face(), 0)

    view = frontal([image], points[None], reference())[0]

    inner = reference().mask.copy()
    inner[:, :50] = inner[:, -52:] = inner[190:] = False
    assert psnr(view, truth, inner) > 25
    assert view[~reference().mask].max() == 0


def test_a_view_samples_where_the_pose_puts_the_surface(ict):
    _, points, _ = shown(ict, ict.face(), 25, 5)
    rows, columns = np.mgrid[:320, :320]
    ramp = np.rint(np.dstack([columns, rows, rows]) * (255 / 319)).astype(np.uint8)

    view = frontal([ramp], points[None], reference())[0]

    surface = reference()
    where = estimate(points[None], surface).project(torch.tensor(surface.points[surface.mask]))
    away = view[surface.mask][:, :2] * (319 / 255) - where[0].numpy()
    assert np.abs(away.mean(axis=0)).max() < 0.05  # a level is 1.25 pixels
    assert np.abs(away).max() < 1.3


def test_images_of_any_size_are_shown_as_each_alone(ict):
    image, points, _ = shown(ict, ict.face(), 20)
    wide = np.pad(image, ((0, 0), (40, 700), (0, 0)))
    images = [image, wide, np.ascontiguousarray(image[20:, 10:])]
    places = np.stack([points, points + np.array([40, 0]), points - np.array([10, 20])])

    together = frontal(images, places, reference(), symmetry="soft")

    for row, (one, face) in enumerate(zip(images, places, strict=True)):
        alone = frontal([one], face[None], reference(), symmetry="soft")[0]
        assert np.abs(together[row].astype(int) - alone).max() <= 1
    assert np.abs(together[1].astype(int) - together[0]).max() <= 1


def test_a_large_photograph_is_shrunk_and_not_sampled_with_gaps(ict):
    points = ict.points(ict.face(), ict.turn(10, 0))
    checks = np.indices((3200, 3200)).sum(axis=0) % 2 * 255
    large = np.dstack([checks] * 3).astype(np.uint8)

    view = frontal([large], points[None] * 10, reference())[0]

    inner = view[80:150, 80:140]
    assert np.abs(inner.astype(int) - 127).max() < 30


def test_a_face_outside_its_image_is_black(ict):
    image, points, _ = shown(ict, ict.face(), 10)

    view = frontal([image], points[None] + 5000, reference(), symmetry="soft")

    assert view.max() == 0


def test_no_face_gives_no_view():
    assert frontal([], np.zeros((0, 68, 2)), reference()).shape == (0, CROP_PIXELS, CROP_PIXELS, 3)


def test_a_surface_of_the_users_serves_as_well(ict, turned, shared_data):
    images, points, truths = zip(*turned, strict=True)
    surface = load(shared_data / "surface" / "ict_face.npz")

    views = frontal(images, np.stack(points), surface, symmetry="soft")

    gain = [
        psnr(view, truth, surface.mask) - psnr(aligned(image, face), truth, surface.mask)
        for view, image, face, truth in zip(views, images, points, truths, strict=True)
    ]
    assert np.median(gain) > 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("symmetry", ["none", "soft", "conditional"])
def test_a_gpu_makes_the_same_views(turned, symmetry):
    images, points, _ = zip(*turned, strict=True)

    views = frontal(images, np.stack(points), reference(), symmetry=symmetry, device="cuda")

    on_cpu = frontal(images, np.stack(points), reference(), symmetry=symmetry)
    assert np.abs(views.astype(int) - on_cpu).max() <= 2


@pytest.mark.parametrize("symmetry", ["none", "soft", "conditional"])
def test_a_face_looks_the_same_alone_as_among_others_but_for_rounding(turned, symmetry):
    images, points, _ = zip(*turned, strict=True)
    images = [image[::2, ::2] for image in images]  # a cut of a face is at most 320 pixels wide
    points = [face / 2 for face in points]

    together = frontal(images, np.stack(points), reference(), symmetry=symmetry)

    for row, (image, face) in enumerate(zip(images, points, strict=True)):
        alone = frontal([image], face[None], reference(), symmetry=symmetry)
        differ = np.abs(alone[0].astype(int) - together[row])
        assert differ.max() <= 1
        assert differ.mean() < 2e-5
