import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_core.config import ONE_FRAME, VIEWS, ClipConfig
from fer_core.data.datasets import load
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.media import examine
from fer_core.faces import faces_stage, video, views_stage
from fer_core.faces.align import five_points
from fer_core.faces.follow import FOUND, INTERPOLATED, LEFT_OUT
from fer_core.faces.tracks import FRAME, Faces, packed
from fer_core.faces.views import aligned
from fer_core.storage.files import file_sha256
from fer_core.storage.stages import Tally, make, read_or_make
from fer_core.storage.store import Store
from tests.fer_core.faces.oddities import EDITED, picture

ROOT = Path(__file__).parents[3]
THREE = ClipConfig(start=0.0, end=1.0, frames=3)


def clip_of(path, **fields):
    known = {"clip": path.name, "subject": "1", "emotion": "anger", "authenticity": None}
    return Clip(**known | fields, path=path, sha256=file_sha256(path))


def with_landmarks(clip, path):
    return replace(clip, landmarks=path, landmarks_sha256=file_sha256(path))


def manifest_of(*clips, root):
    return Manifest(dataset="folder", root=root, clips=tuple(sorted(clips, key=lambda c: c.clip)))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def few(rendered):
    """Six rendered clips of three subjects, with the landmarks that they were drawn from."""
    manifest = load("synthetic", rendered)
    chosen = [c for c in manifest.clips if c.subject in "123" and c.emotion == "happiness"]
    return replace(manifest, clips=tuple(chosen))


def faces_of(manifest, store, engine="data"):
    tally = Tally()
    shards = faces_stage.shards(manifest, engine, "cpu", tally)
    return shards, read_or_make(store, shards, tally), tally


def read(entries):
    """All tracks by clip, and why clips were skipped."""
    faces = [Faces(entry) for entry in entries]
    tracks = {clip: shard.track(clip) for shard in faces for clip in shard.clips}
    return tracks, {k: v for shard in faces for k, v in shard.skipped.items()}


def test_every_frame_of_a_clip_is_decoded_once_and_kept_with_its_points(few, store):
    _, entries, tally = faces_of(few, store)

    tracks, skipped = read(entries)
    assert skipped == {}
    assert tally.work.frames_decoded == sum(len(track.points) for track in tracks.values())
    for clip in few.clips:
        track = tracks[clip.clip]
        np.testing.assert_array_equal(track.points, np.load(clip.landmarks))
        assert set(track.states) == {FOUND}


def test_the_view_of_a_cut_is_that_of_the_frame_but_for_jpeg_and_resampling(few, store):
    _, entries, _ = faces_of(few, store)
    tracks, _ = read(entries)
    clip = few.clips[0]
    frame, track = next(video.frames(clip.path)), tracks[clip.clip]

    kept = aligned(track.pictures([0])[0], track.crop_points([0])[0])

    direct = aligned(frame, track.points[0])
    error = np.abs(kept.astype(float) - direct)
    assert np.sqrt((error**2).mean()) < 4  # of 255


def test_a_face_that_a_view_cannot_show_is_skipped_and_the_others_are_shown(few, store, tmp_path):
    points = np.load(few.clips[0].landmarks)
    points[:, 1:] = points[:, :1] + np.linspace(0, 40, 67)[:, None]  # all on one line
    np.save(tmp_path / "points.npy", points)
    line = with_landmarks(few.clips[0], tmp_path / "points.npy")
    manifest = replace(few, clips=(line, *few.clips[1:]))
    shards, entries, _ = faces_of(manifest, store)
    made = list(zip(shards, entries, strict=True))

    stored = read_or_make(store, views_stage.shards(made, THREE, "frontal", None), Tally())

    assert [clip for e in stored for clip in e.meta["skipped"]] == [line.clip]
    assert [clip for e in stored for clip in e.meta["clips"]] == [c.clip for c in few.clips[1:]]


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_of_each_clip_is_stored_as_the_window_asks(few, store, view):
    shards, entries, _ = faces_of(few, store)
    made = list(zip(shards, entries, strict=True))

    stored = read_or_make(store, views_stage.shards(made, THREE, view, None), Tally())

    names = [clip for entry in stored for clip in entry.meta["clips"]]
    assert names == [clip.clip for clip in few.clips]
    for entry in stored:
        crops = views_stage.crops(entry)
        assert crops.shape == (len(entry.meta["clips"]), 3, 224, 224, 3)
        assert crops[..., 80:140, 80:140, :].mean() > 30


def test_stored_views_hold_a_tenth_of_the_bytes_of_their_pixels(few, store):
    shards, entries, _ = faces_of(few, store)
    made = list(zip(shards, entries, strict=True))

    stored = read_or_make(store, views_stage.shards(made, THREE, "aligned", None), Tally())

    for entry in stored:
        assert entry.array.nbytes < 0.15 * views_stage.crops(entry).nbytes


def test_a_clip_that_is_added_leaves_the_other_shards_alone(rendered):
    manifest = load("synthetic", rendered)
    without = replace(manifest, clips=manifest.clips[:40] + manifest.clips[41:])

    whole = {s.key for s in faces_stage.shards(manifest, "data", "cpu", Tally())}
    fewer = {s.key for s in faces_stage.shards(without, "data", "cpu", Tally())}

    assert len(whole) > 6
    assert len(whole - fewer) == 1


def test_several_processes_make_what_one_makes_and_nothing_twice(few, tmp_path):
    many, one = Store(tmp_path / "many"), Store(tmp_path / "one")
    shards = partial(faces_stage.shards, few, "data", "cpu", Tally())

    message = list(make(many, shards(), workers=2))
    again = list(make(many, shards(), workers=2))

    assert message == [(i + 1, len(shards())) for i in range(len(shards()))]
    assert again == []
    for a, b in zip(
        read_or_make(many, shards(), Tally()), read_or_make(one, shards(), Tally()), strict=True
    ):
        np.testing.assert_array_equal(a.array, b.array)


def test_photographs_are_read_once_each_and_a_crowd_is_noted(shared_data, store, tmp_path):
    one = shared_data / "stills" / "zoom_60cm.jpg"
    image = cv2.imread(str(one))
    crowd = tmp_path / "crowd.jpg"
    cv2.imwrite(str(crowd), np.hstack([image, image]))
    empty = tmp_path / "empty.jpg"
    cv2.imwrite(str(empty), np.zeros((300, 300, 3), np.uint8))
    manifest = manifest_of(clip_of(one), clip_of(crowd), clip_of(empty), root=tmp_path)

    shards, entries, _ = faces_of(manifest, store, "dlib")

    tracks, skipped = read(entries)
    assert set(tracks) == {"zoom_60cm.jpg", "crowd.jpg"}
    assert skipped == {"empty.jpg": "no face found."}
    notes = {k: v for entry in entries for k, v in Faces(entry).notes.items()}
    assert notes == {"crowd.jpg": "2 faces in a frame: the largest central one is followed"}
    stored = read_or_make(
        store,
        views_stage.shards(list(zip(shards, entries, strict=True)), ONE_FRAME, "aligned", None),
        Tally(),
    )
    assert sum(len(entry.meta["clips"]) for entry in stored) == 2


@pytest.mark.slow
def test_every_decoded_frame_of_the_real_clips_is_accounted_for(shared_data, store, tmp_path):
    paths = [p for p in sorted((shared_data / "video").iterdir()) if p.suffix in (".flv", ".mp4")]
    frames = {path.name: sum(1 for _ in video.frames(path)) for path in paths}

    _, entries, _ = faces_of(manifest_of(*map(clip_of, paths), root=tmp_path), store, "dlib")

    tracks, skipped = read(entries)
    assert (len(paths), skipped) == (7, {})
    for name, track in tracks.items():
        assert len(track.states) == frames[name]
        assert set(track.states) <= {FOUND, INTERPOLATED, LEFT_OUT}
        assert (track.states == FOUND).mean() > 0.95


def test_a_clip_that_hides_its_face_for_long_loses_those_frames_with_a_reason(
    shared_data, store, tmp_path
):
    folder = tmp_path / "clip"
    folder.mkdir()
    for i, image in enumerate(video.frames(shared_data / "video" / "1001_DFA_SAD_XX.flv")):
        hidden = np.zeros_like(image) if 20 <= i < 24 or 30 <= i < 46 else image
        cv2.imwrite(str(folder / f"{i:03d}.png"), hidden[..., ::-1])

    _, (entry,), _ = faces_of(manifest_of(clip_of(folder), root=tmp_path), store, "dlib")

    states = Faces(entry).track("clip").states
    assert np.flatnonzero(states == INTERPOLATED).tolist() == [20, 21, 22, 23]
    assert np.flatnonzero(states == LEFT_OUT).tolist() == list(range(30, 46))
    assert Faces(entry).notes["clip"] == (
        "4 of 60 frames without a face interpolated; "
        "16 of 60 frames left out: no face at an end, or for more than 12 frames"
    )


def test_a_clip_with_too_few_faces_is_left_out_with_its_reason(few, store, tmp_path):
    clip = few.clips[0]
    points = np.load(clip.landmarks)
    points[: len(points) // 2 + 1] = np.nan
    np.save(tmp_path / "points.npy", points)
    hidden = with_landmarks(clip, tmp_path / "points.npy")

    _, (entry,), _ = faces_of(replace(few, clips=(hidden,)), store)

    reason = Faces(entry).skipped[clip.clip]
    assert reason.startswith("a face was found in ")
    assert reason.endswith("50% are needed.")


def test_what_cannot_be_read_is_skipped_by_name_and_the_rest_goes_through(few, store, tmp_path):
    copy = tmp_path / "cut.MP4"
    copy.write_bytes(few.clips[0].path.read_bytes()[:3000])
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    points = few.clips[0].landmarks
    bad = (clip_of(copy, landmarks=points), clip_of(text, landmarks=points))
    gone = replace(few.clips[1], clip="gone.mp4", path=tmp_path / "gone.mp4")

    _, entries, _ = faces_of(manifest_of(*few.clips, *bad, gone, root=tmp_path), store)

    tracks, skipped = read(entries)
    assert set(tracks) == {clip.clip for clip in few.clips}
    assert "cut.MP4" in skipped["cut.MP4"]
    assert "text.mp4 cannot be decoded" in skipped["text.mp4"]
    assert skipped["gone.mp4"].endswith("gone.mp4 does not exist.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x93NUMPY\x01", "cannot be read"),
        (b"", "cannot be read"),
        (np.zeros((30, 5, 2)), r"float64 \(30, 5, 2\), not \(frames, 68, 2\)"),
        (np.array([{"a": 1}], object), "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=["cut short", "empty", "of another shape", "pickled", "absent"],
)
def test_bad_landmarks_are_named_and_the_other_clips_go_through(
    few, store, tmp_path, content, reason
):
    path = tmp_path / "points.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    bad = replace(few.clips[0], landmarks=path)

    _, entries, _ = faces_of(replace(few, clips=(bad, *few.clips[1:])), store)

    tracks, skipped = read(entries)
    assert len(tracks) == len(few.clips) - 1
    assert re.search(rf"points\.npy.*{reason}", skipped[bad.clip])


@pytest.mark.parametrize("factor", [1e3, 1e9, 1e30])
def test_landmarks_beyond_any_frame_are_no_face(few, store, tmp_path, factor):
    points = np.load(few.clips[0].landmarks).astype(np.float64)
    np.save(tmp_path / "points.npy", (points - points.mean()) * factor)
    wild = with_landmarks(few.clips[0], tmp_path / "points.npy")

    _, entries, _ = faces_of(replace(few, clips=(wild, *few.clips[1:])), store)

    assert "too far apart" in read(entries)[1][wild.clip]


def test_a_name_that_is_no_utf_8_is_a_name(few, store):
    odd = replace(few.clips[0], clip=os.fsdecode(b"FakeTrue_DB/1/\xff.MP4"))

    _, entries, _ = faces_of(replace(few, clips=(*few.clips[1:], odd)), store)

    assert odd.clip in read(entries)[0]


@pytest.mark.slow
def test_more_shards_are_read_than_files_may_be_open(rendered, tmp_path):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from fer_core.data.datasets import load\n"
        "from search.request import find_faces\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (25, 25))\n"
        "manifest = load('synthetic', Path(sys.argv[1]))\n"
        "made = find_faces.faces(manifest, engine='data', store=Path(sys.argv[2]), workers=1,\n"
        "    progress=lambda done, shards: None)\n"
        "states = [f.track(c).states for f in made.faces for c in f.clips]\n"
        "print(len(made.faces), len(states))\n"
    )
    command = [sys.executable, "-c", code, str(rendered), str(tmp_path / "store")]

    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )

    shards, clips = map(int, done.stdout.split() or [0, 0])
    assert shards > 16, done.stderr
    assert clips == 120


def test_a_store_that_is_copied_to_another_place_gives_the_same_views(few, store, tmp_path):
    shards, entries, _ = faces_of(few, store)
    made = list(zip(shards, entries, strict=True))
    views = views_stage.shards(made, THREE, "aligned", None)
    original = [views_stage.crops(entry) for entry in read_or_make(store, views, Tally())]

    shutil.copytree(tmp_path / "store", tmp_path / "elsewhere")
    tally = Tally()
    copied = read_or_make(Store(tmp_path / "elsewhere"), views, tally)

    assert tally.work.stages_made == 0
    for a, b in zip(original, copied, strict=True):
        np.testing.assert_array_equal(a, views_stage.crops(b))


@pytest.mark.slow
def test_eyes_of_the_london_photographs_are_where_their_authors_put_them(london, store):
    manifest = load("folder", london)
    _, entries, _ = faces_of(manifest, store, "dlib")

    tracks, _ = read(entries)
    errors = []
    for path in sorted((london / "neutral").glob("*.jpg")):
        hand = np.loadtxt(path.with_suffix(".pts189.txt"))[:2]  # the pupils
        eyes = five_points(tracks[f"neutral/{path.name}"].points[0])[:2]
        distance = np.linalg.norm(hand[1] - hand[0])
        errors.append(np.linalg.norm(eyes - hand, axis=1).mean() / distance)
    assert (len(manifest.clips), len(errors)) == (204, 102)
    assert len(tracks) >= 200
    assert np.median(errors) < 0.06


def keys(*clips, root):
    manifest = manifest_of(*clips, root=root)
    return [shard.key for shard in faces_stage.shards(manifest, "dlib", "cpu", Tally())]


def test_only_a_clip_that_is_read_otherwise_than_before_has_another_key(tmp_path):
    clip = Clip(
        clip="a.mp4",
        subject="1",
        emotion="joy",
        authenticity=None,
        path=tmp_path / "a.mp4",
        sha256="0" * 64,
    )

    known = keys(clip, root=tmp_path)

    assert keys(replace(clip, kind="video"), root=tmp_path) == known
    assert keys(replace(clip, kind="video", reading="pixels 16/9"), root=tmp_path) != known


def test_a_refusal_that_an_earlier_version_stored_is_not_used_for_a_trimmed_video(tmp_path, store):
    EDITED(tmp_path / "trimmed.mp4", picture(1))
    earlier = clip_of(tmp_path / "trimmed.mp4")
    (key,) = keys(earlier, root=tmp_path)
    refused = {"clips": {}, "skipped": {earlier.clip: "declares 30 frames and yields 18"}}
    store.put("faces", key, packed(np.zeros(0, FRAME), []), {"seconds": 1.0, "notes": {}} | refused)

    today = replace(earlier, reading=examine(earlier.path).reading)
    _, entries, tally = faces_of(manifest_of(today, root=tmp_path), store, "dlib")

    assert tally.work.frames_decoded == 18
    assert read(entries)[1] == {earlier.clip: "no face found."}


def test_one_photograph_of_an_unknown_name_leaves_the_shards_of_all_others_alone(tmp_path):
    known = {"subject": "1", "emotion": "joy", "authenticity": None, "sha256": "0" * 64}
    photographs = [Clip(clip=f"{i}.jpg", path=tmp_path / f"{i}.jpg", **known) for i in range(400)]
    odd = Clip(clip="odd", path=tmp_path / "odd", kind="image", **known)
    moving = Clip(clip="odd.gif", path=tmp_path / "odd.gif", kind="animation", **known)

    before = set(keys(*photographs, root=tmp_path))

    for other in (odd, moving):
        assert len(before - set(keys(*photographs, other, root=tmp_path))) <= 1
