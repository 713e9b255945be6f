"""Whether two clips show one person; real faces, and distances that are known."""

from statistics import NormalDist

import cv2
import dlib
import numpy as np
import pytest
import torch

from fer_core.data import datasets
from fer_core.features.descriptors import Describer
from fer_core.weight_files import packaged
from search.checkup import same_person
from search.request import find_faces


@pytest.fixture(scope="module")
def describer():
    return same_person.load()


@pytest.fixture(scope="module")
def portraits(london, tmp_path_factory):
    """Sixteen people, neutral and smiling; `x` is the third of them under another name."""
    root = tmp_path_factory.mktemp("portraits")
    for label in ("neutral", "smiling"):
        (root / label).mkdir()
        for file in sorted((london / label).glob("*.jpg"))[:16]:
            name = file.name
            if label == "smiling" and name.startswith("003"):
                name = "x_08.jpg"
            (root / label / name).write_bytes(file.read_bytes())
    manifest = datasets.load("folder", root)
    made = find_faces.faces(
        manifest,
        engine="dlib",
        store=root / "store",
        workers=1,
        progress=lambda done, missing: None,
    )
    return manifest, made.faces


def looked(describer, portraits, side_of=str, false_matches=1.0):
    manifest, faces = portraits
    return same_person.look(
        describer,
        manifest.clips,
        faces,
        side_of,
        false_matches=false_matches,
        progress=lambda done, total: None,
    )


def test_a_person_under_two_names_is_the_likeliest_pair(describer, portraits):
    report = looked(describer, portraits)

    first = report.likeliest[0]
    assert {first.first, first.second} == {"neutral/003_03.jpg", "smiling/x_08.jpg"}
    assert first.distance < report.threshold < 0.6
    assert (report.clips, report.genuine_pairs, report.pairs) == (32, 15, 32 * 31 // 2 - 15)
    assert report.genuine_share == 1
    assert report.matches <= 4  # the one, and about one of strangers


def test_pairs_on_one_side_are_not_compared(describer, portraits):
    report = looked(describer, portraits, lambda subject: "a" if subject in ("003", "x") else "b")

    assert report.likeliest == ()
    assert report.pairs == 2 * 30


def test_fewer_pairs_than_a_hundred_set_no_threshold(describer, portraits):
    report = looked(describer, portraits, lambda subject: "a" if subject == "x" else "b")

    assert (report.pairs, report.threshold, report.likeliest) == (31, None, ())


@pytest.mark.parametrize("false_matches", [0.1, 1, 10, 100])
def test_so_many_pairs_of_strangers_lie_below_the_threshold_as_were_stated(false_matches):
    distances = NormalDist(0.7, 0.07)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        drawn = rng.normal(distances.mean, distances.stdev, 20_000)
        counts = np.bincount((drawn * 1000).astype(int), minlength=4001)
        found.append((drawn < same_person.threshold(counts, false_matches)).sum())

    assert np.mean(found) == pytest.approx(false_matches, rel=0.35)


def test_a_few_pairs_of_one_person_hardly_move_the_threshold():
    rng = np.random.default_rng(0)
    strangers = rng.normal(0.85, 0.09, 20_000)
    same = rng.normal(0.25, 0.05, 400)

    alone, mixed = (
        same_person.threshold(np.bincount((d * 1000).astype(int), minlength=4001), 1.0)
        for d in (strangers, np.concatenate([strangers, same]))
    )

    assert mixed == pytest.approx(alone, abs=0.03)


def test_the_threshold_is_never_above_that_of_dlib():
    counts = np.bincount([700, 800, 900] * 100, minlength=4001)

    assert same_person.threshold(counts, 100.0) == 0.6


def test_blocks_find_what_one_block_finds(describer, portraits, monkeypatch):
    whole = looked(describer, portraits)
    monkeypatch.setattr(same_person, "_BLOCK", 40)

    parts = looked(describer, portraits)

    assert (parts.pairs, parts.matches, parts.genuine_pairs) == (
        whole.pairs,
        whole.matches,
        whole.genuine_pairs,
    )
    assert parts.likeliest == whole.likeliest


def test_a_descriptor_is_that_of_dlib(london):
    net = dlib.face_recognition_model_v1(str(packaged("dlib_face_recognition_resnet_model_v1.dat")))
    paths = sorted((london / "neutral").glob("*.jpg"))[:3]
    faces = np.stack([cv2.resize(cv2.imread(str(path))[..., ::-1], (150, 150)) for path in paths])

    found = Describer(torch.device("cpu"))(faces)

    expected = [list(net.compute_face_descriptor(np.ascontiguousarray(face))) for face in faces]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_forecast_grows_with_the_clips(describer):
    assert 0 < same_person.forecast(describer, 10) < same_person.forecast(describer, 1000)
