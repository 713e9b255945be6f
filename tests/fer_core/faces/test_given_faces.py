"""Pictures that are faces already: shown as a whole, and searched more closely for landmarks."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.small_faces import made
from fer_core.config import GIVEN, ONE_FRAME, ClipConfig
from fer_core.data.datasets import load
from fer_core.data.manifest import Clip, Manifest
from fer_core.faces import faces_stage, landmarks, video, views_stage
from fer_core.faces.follow import CUT_PIXELS, whole
from fer_core.faces.tracks import Faces, decode_jpeg
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store
from tests.fer_core.crops import BLANK


@pytest.fixture(scope="module")
def crops(face_crops):
    """The first eight crops of the table, the blank one among them."""
    manifest = load("fer2013", face_crops)
    return replace(manifest, clips=manifest.clips[:8])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def read(manifest, engine, store):
    shards = faces_stage.shards(manifest, engine, "cpu", Tally())
    return list(zip(shards, read_or_make(store, shards, Tally()), strict=True))


def shown(pairs, view, store, whole=None, window=ONE_FRAME):
    """The views by clip, and the clips that are shown as a whole in their place."""
    shards = views_stage.shards(pairs, window, view, None, whole)
    entries = read_or_make(store, shards, Tally())
    images = {
        clip: image
        for entry in entries
        for clip, image in zip(entry.meta["clips"], views_stage.crops(entry), strict=True)
    }
    return images, {clip for entry in entries for clip in entry.meta.get("fallbacks", ())}


def difference(one, other):
    return np.abs(one.astype(float) - other).mean()


def test_a_given_face_is_the_whole_picture(crops, store):
    images, _ = shown(read(crops, GIVEN, store), GIVEN, store)

    assert images.keys() == {clip.clip for clip in crops.clips}
    for clip in crops.clips:
        (picture,) = video.frames(clip.path, clip.offset)
        assert difference(images[clip.clip][0], cv2.resize(picture, (224, 224))) < 3  # of 255


@pytest.mark.parametrize("size", [(30, 20), (20, 30), (7, 7), (900, 400), (1, 3)])
def test_a_given_face_that_is_no_square_keeps_its_shape_between_black_borders(size):
    picture = np.full((*size, 3), 200, np.uint8)

    cut = whole(picture)

    square = decode_jpeg(cut.jpeg)
    assert square.shape[0] == square.shape[1] == min(max(size), CUT_PIXELS)
    lit = (square.min(axis=2) > 100).mean()
    assert lit == pytest.approx(min(size) / max(size), abs=0.02)
    corner = (np.array([0, 0]) - (cut.left, cut.top)) * cut.scale  # of the picture, in the cut
    assert np.all(corner >= 0)


def test_a_picture_without_a_face_is_shown_as_a_whole_in_any_view(crops, store):
    found, pictures = read(crops, "dlib-closer", store), read(crops, GIVEN, store)

    images, fallbacks = shown(found, "aligned", store, pictures)

    blank = crops.clips[BLANK].clip
    given, _ = shown(pictures, GIVEN, store)
    without, _ = shown(found, "aligned", store)
    assert blank in fallbacks
    assert images.keys() == given.keys() == without.keys() | fallbacks
    for clip, image in images.items():
        np.testing.assert_array_equal(image, (given if clip in fallbacks else without)[clip])


def test_frames_without_landmarks_have_no_apex_and_are_spread_over_the_clip(rendered, store):
    manifest = load("synthetic", rendered)
    video_clips = replace(manifest, clips=manifest.clips[:1])
    nobody = replace(video_clips, clips=(blank_of(video_clips.clips[0], store.root),))
    window = ClipConfig(sampling="onset_apex", frames=3)

    images, fallbacks = shown(
        read(nobody, "dlib", store), "crop", store, read(nobody, GIVEN, store), window
    )

    assert fallbacks == {nobody.clips[0].clip}
    assert len(images[nobody.clips[0].clip]) == 3


def blank_of(clip, folder):
    """A clip of the same name whose frames show nothing."""
    frames = folder.parent / "frames"
    frames.mkdir()
    for number in range(6):
        cv2.imwrite(str(frames / f"{number}.png"), np.full((60, 60, 3), 40 * number, np.uint8))
    return Clip(
        clip=clip.clip,
        subject=clip.subject,
        emotion=clip.emotion,
        authenticity=clip.authenticity,
        path=frames,
        sha256=file_sha256(frames),
    )


@pytest.fixture(scope="module")
def searched():
    """Which of forty crops each engine finds a face in, and the error of its points."""
    found = {}
    for engine in ("dlib", "dlib-closer"):
        finder = landmarks.load_finder(engine)
        pairs = [(crop, finder.search(crop.image)) for crop in made(40, seed=3)]
        found[engine] = [(crop, face) for crop, face in pairs if face is not None]
    return found


def test_a_closer_look_finds_the_faces_that_fill_their_picture(searched):
    assert len(searched["dlib-closer"]) > len(searched["dlib"])
    assert len(searched["dlib-closer"]) >= 38


def test_the_points_of_a_closer_look_lie_on_the_face(searched):
    for crop, face in searched["dlib-closer"]:
        eyes = np.linalg.norm(crop.points[36:42].mean(axis=0) - crop.points[42:48].mean(axis=0))
        away = np.linalg.norm(face.points - crop.points, axis=1).mean()
        assert away < 0.35 * eyes


def test_a_closer_look_finds_a_face_that_fills_a_large_picture(london):
    usual, closer = (landmarks.load_finder(each) for each in ("dlib", "dlib-closer"))
    crops = [
        cut_close(picture, usual.search(picture).points, pixels=600)
        for path in sorted((london / "neutral").glob("*.jpg"))[:8]
        for picture in video.frames(path)
    ]

    found = [closer.search(crop) for crop in crops]

    assert sum(usual.search(crop) is not None for crop in crops) <= 4
    assert sum(face is not None for face in found) >= 7
    for face in filter(None, found):
        assert 100 < face.points.mean() < 500  # the points lie on the picture, not on its border


def cut_close(picture, points, *, pixels):
    """Cut a face out within its outline, and enlarge it until its short side has these pixels."""
    low, high = points.min(axis=0), points.max(axis=0)
    inward = 0.12 * (high - low).max()
    left, top = np.maximum(0, low + inward).astype(int)
    right, bottom = (high - inward).astype(int)
    crop = np.ascontiguousarray(picture[top:bottom, left:right])
    factor = pixels / min(crop.shape[:2])
    return cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def test_a_closer_look_leaves_alone_what_the_engine_finds_in_a_large_picture(london):
    path = next((london / "neutral").glob("*.jpg"))
    (picture,) = video.frames(path)

    plain = landmarks.load_finder("dlib").search(picture)
    closer = landmarks.load_finder("dlib-closer").search(picture)

    np.testing.assert_array_equal(closer.points, plain.points)


def test_an_engine_for_given_faces_stores_under_a_key_of_its_own(crops):
    manifest = Manifest(dataset="fer2013", root=crops.root, clips=crops.clips)

    keys = {
        engine: [s.key for s in faces_stage.shards(manifest, engine, "cpu", Tally())]
        for engine in ("dlib", "dlib-closer", GIVEN)
    }

    assert len({key for stage in keys.values() for key in stage}) == sum(map(len, keys.values()))


def test_whole_pictures_have_no_landmarks(crops, store):
    for _, entry in read(crops, GIVEN, store):
        faces = Faces(entry)
        for clip in faces.clips:
            track = faces.track(clip)
            assert np.isnan(track.points).all()
            assert track.usable.all()
