import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_core.data import datasets
from fer_core.faces import video
from search.checkup import contact_sheet
from search.checkup.contact_sheet import CELL, LEFT, STEP, TOP, VIEWS
from search.request import find_faces

EMPTY = (64, 64, 64)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, rendered):
    """Three subjects, of whom the second never smiles; the third's smile has no face to show."""
    root = tmp_path_factory.mktemp("sheet") / "clips"
    for subject in "123":
        shown = {"anger": "N2A", "happiness": "N2H"}
        for emotion, name in shown.items():
            (root / emotion).mkdir(parents=True, exist_ok=True)
            frames = list(video.frames(rendered / "FakeTrue_DB" / subject / f"{name}.MP4"))
            cv2.imwrite(root / emotion / f"{subject}_a.png", frames[-1][..., ::-1])
    (root / "happiness" / "2_a.png").unlink()
    cv2.imwrite(root / "happiness" / "3_a.png", np.zeros((64, 64, 3), np.uint8))
    return root


def prepared(root, dataset, store, engine="dlib"):
    manifest = datasets.load(dataset, root)
    made = find_faces.faces(
        manifest, engine=engine, store=store, workers=1, progress=lambda done, missing: None
    )
    return manifest, made.faces


def drawn(root, store, *, dataset="folder", subjects=8, engine="dlib"):
    path = store / "sheet.png"
    manifest, faces = prepared(root, dataset, store / "store", engine)
    contact_sheet.draw(path, manifest, faces, subjects=subjects)
    return np.asarray(Image.open(path))


def block(image, view, *, rows, columns):
    """Cut out the block of a view, of a sheet on which all stand abreast."""
    width = LEFT + columns * STEP
    assert image.shape[1] == width * len(VIEWS)
    assert image.shape[0] == TOP + rows * STEP
    left = VIEWS.index(view) * width
    return image[:, left : left + width]


def cells(block, *, rows, columns):
    return [
        [
            block[TOP + y * STEP : TOP + y * STEP + CELL, LEFT + x * STEP : LEFT + x * STEP + CELL]
            for x in range(columns)
        ]
        for y in range(rows)
    ]


def is_empty(cell):
    return (cell == EMPTY).all(axis=-1).mean() > 0.95


@pytest.mark.parametrize("view", VIEWS)
def test_a_place_shows_a_face_or_a_dash_where_there_is_none(tmp_path, clips, view):
    image = drawn(clips, tmp_path)

    shown = cells(block(image, view, rows=3, columns=2), rows=3, columns=2)

    assert [[is_empty(cell) for cell in row] for row in shown] == [
        [False, False],
        [False, True],
        [False, True],
    ]


def test_faces_differ_between_subjects_emotions_and_views(tmp_path, clips):
    image = drawn(clips, tmp_path)

    blocks = [cells(block(image, view, rows=3, columns=2), rows=3, columns=2) for view in VIEWS[:3]]
    faces = [blocks[0][0][0], blocks[0][0][1], blocks[0][1][0], blocks[1][0][0], blocks[2][0][0]]

    for i, face in enumerate(faces):
        for other in faces[i + 1 :]:
            assert np.abs(face.astype(int) - other).mean() > 5


def test_points_are_drawn_on_upright_views_alone(tmp_path, clips):
    image = drawn(clips, tmp_path)

    def greens(view):
        cell = cells(block(image, view, rows=3, columns=2), rows=3, columns=2)[0][0].astype(int)
        return ((cell[..., 1] - cell[..., 0] > 60) & (cell[..., 1] - cell[..., 2] > 60)).sum()

    assert min(greens("crop"), greens("aligned")) > 68
    assert max(greens(view) for view in VIEWS if view.startswith("frontal")) == 0


@pytest.mark.slow
def test_so_many_subjects_as_asked_are_shown_spread_over_all(tmp_path, rendered):
    manifest, faces = prepared(rendered, "synthetic", tmp_path / "store", "data")
    path = tmp_path / "sheet.png"

    contact_sheet.draw(path, manifest, faces, subjects=2)

    image = np.asarray(Image.open(path))
    height = TOP + 2 * STEP
    assert image.shape == (height * len(VIEWS), LEFT + 12 * STEP, 3)  # emotions, acted or genuine
    shown = [cells(image[i * height : (i + 1) * height], rows=2, columns=12) for i in range(5)]
    assert not any(is_empty(cell) for view in shown for row in view for cell in row)


def test_a_clip_is_shown_at_the_height_of_its_expression(tmp_path, rendered):
    root = tmp_path / "one"
    (root / "surprise").mkdir(parents=True)
    shutil.copy(rendered / "FakeTrue_DB" / "1" / "N2Sur.MP4", root / "surprise" / "1_a.mp4")
    frames = list(video.frames(root / "surprise" / "1_a.mp4"))

    clip = drawn(root, tmp_path)
    (root / "surprise" / "1_a.mp4").unlink()
    cv2.imwrite(root / "surprise" / "1_a.png", frames[0][..., ::-1])
    still = drawn(root, tmp_path)

    face, neutral = (
        cells(block(image, "frontal", rows=1, columns=1), rows=1, columns=1)[0][0].astype(int)
        for image in (clip, still)
    )
    assert np.abs(face - neutral).mean() > 5


def test_where_nobody_knows_the_subjects_rows_hold_examples(tmp_path, clips):
    manifest, faces = prepared(clips, "folder", tmp_path / "store")
    strangers = [type(c)(**{**vars(c), "subject": c.clip}) for c in manifest.clips]
    manifest = type(manifest)(**{**vars(manifest), "clips": tuple(strangers)})

    contact_sheet.draw(tmp_path / "sheet.png", manifest, faces, subjects=8)

    image = np.asarray(Image.open(tmp_path / "sheet.png"))
    shown = cells(block(image, "crop", rows=3, columns=2), rows=3, columns=2)
    assert [sum(not is_empty(row[x]) for row in shown) for x in (0, 1)] == [3, 1]


def test_where_nobody_knows_the_subjects_each_column_is_filled_from_all_of_its_clips(
    tmp_path, rendered
):
    root = tmp_path / "unlike"
    for emotion, count in (("anger", 12), ("sadness", 4)):
        (root / emotion).mkdir(parents=True)
        for number in range(count):
            clip = rendered / "FakeTrue_DB" / "1" / f"N2{emotion[0].upper()}.MP4"
            frames = list(video.frames(clip))
            cv2.imwrite(root / emotion / f"{number:02d}_a.png", frames[-1 - number][..., ::-1])
    manifest, faces = prepared(root, "folder", tmp_path / "store")
    strangers = tuple(replace(clip, subject=clip.clip) for clip in manifest.clips)

    contact_sheet.draw(
        tmp_path / "sheet.png", replace(manifest, clips=strangers), faces, subjects=4
    )

    image = np.asarray(Image.open(tmp_path / "sheet.png"))
    shown = cells(block(image, "crop", rows=4, columns=2), rows=4, columns=2)
    assert [sum(not is_empty(row[x]) for row in shown) for x in (0, 1)] == [4, 4]
    assert len({row[0].tobytes() for row in shown}) == 4


def test_subjects_are_spread_in_the_order_of_their_numbers(tmp_path, clips):
    (clip, *_) = datasets.load("folder", clips).clips
    people = [replace(clip, subject=subject, clip=subject) for subject in ("1", "10", "2")]

    places = contact_sheet._by_subject(people, set(), 2)

    assert {subject for subject, _ in places} == {"1", "10"}


def test_long_names_are_shortened_to_their_place():
    name = contact_sheet._fitted("a name that is much too long for a sheet", 60)

    assert name.endswith("...")
    assert contact_sheet._FONT.getlength(name) <= 60


def test_the_picture_has_a_size_that_can_be_looked_at_however_many_labels_and_subjects(
    tmp_path, clips
):
    manifest, faces = prepared(clips, "folder", tmp_path / "store")
    known = manifest.clips[0]
    many = [
        replace(
            known, clip=f"{subject}-{label}", subject=f"s{subject}", emotion=f"word {label:02d}"
        )
        for label in range(30)
        for subject in range(60 - label)
    ]

    contact_sheet.draw(
        tmp_path / "a.png", replace(manifest, clips=(known, *many)), faces, subjects=8
    )

    with Image.open(tmp_path / "a.png") as image:
        width, height = image.size
    assert width == LEFT + 20 * STEP
    assert height == len(VIEWS) * (TOP + 8 * STEP)


def test_where_most_subjects_have_one_clip_rows_hold_examples(tmp_path, clips):
    manifest, faces = prepared(clips, "folder", tmp_path / "store")
    single = [replace(clip, subject=f"only {clip.clip}") for clip in manifest.clips]

    contact_sheet.draw(
        tmp_path / "a.png", replace(manifest, clips=tuple(single)), faces, subjects=8
    )

    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape[0] == TOP + 3 * STEP  # of three examples of anger and one of happiness
