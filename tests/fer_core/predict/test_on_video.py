import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_core.config import (
    ENCODINGS,
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.data.datasets import load
from fer_core.errors import DataError
from fer_core.faces.tracks import Faces
from fer_core.features.context import TrialContext
from fer_core.predict import model_folder
from fer_core.predict.on_video import Reader, predict
from fer_core.predict.prediction import text
from fer_core.predict.timeline import draw
from fer_core.trial.evaluate import refit

FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
)
VOTES = Config(
    streams=(FROZEN, GeometryConfig()),
    fusion=FusionConfig(),
    clip=ClipConfig(frames=3),
    task="hidden",
    head=HeadConfig(two_heads=True),
    optimizer=OptimizerConfig(epochs=20, lr=0.01),
)
GRU = replace(VOTES, recurrent=RecurrentConfig(cell="gru", hidden=8))
C3D = Config(
    streams=(
        StreamConfig(
            backbone="c3d", weights="random", blocks=4, freeze_depth=0, width=1 / 16, crop_pixels=32
        ),
    ),
    clip=ClipConfig(frames=4),
    optimizer=OptimizerConfig(epochs=1),
)


@pytest.fixture(scope="module", params=[VOTES, GRU, C3D], ids=lambda c: c.family)
def exported(request, study_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    model_folder.save(refit(request.param, study_data), folder, card="# A card\n")
    return folder


@pytest.fixture(scope="module")
def votes(study_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "votes"
    model_folder.save(refit(VOTES, study_data), folder, card="# A card\n")
    return folder


@pytest.fixture(scope="module")
def clip(rendered):
    manifest = load("synthetic", rendered)
    return next(c for c in manifest.clips if c.emotion == "happiness")


def test_each_class_has_a_probability_at_each_moment_and_over_the_clip(exported, clip):
    found = predict(model_folder.load(exported), clip.path)

    assert found.over_time.shape == (len(found.seconds), len(found.classes))
    np.testing.assert_allclose(found.over_time.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.clip.sum(), 1, rtol=1e-5)
    assert (np.diff(found.seconds) > 0).all()


def test_a_hidden_task_is_summed_to_emotion_and_authenticity(votes, clip):
    found = predict(model_folder.load(votes), clip.path)

    emotions, kinds = found.emotions(), found.authenticities()
    assert set(emotions) == {"happiness", "sadness"}
    assert set(kinds) == {"acted", "genuine"}
    for summed in (emotions, kinds):
        np.testing.assert_allclose(sum(summed.values()), 1, rtol=1e-5)
    assert "emotion       happiness" in text(found)


def test_a_task_without_authenticity_says_so(exported, clip):
    model = model_folder.load(exported)

    printed = text(predict(model, clip.path))

    assert ("authenticity  not known to this model" in printed) == (model.task == "emotion")


def test_windows_begin_and_end_with_what_the_video_shows(exported, clip):
    found = predict(model_folder.load(exported), clip.path)

    assert found.seconds[0] == 0
    assert found.seconds[-1] <= len(found.has_face) / found.rate


def test_the_picture_is_drawn(votes, clip, tmp_path):
    draw(predict(model_folder.load(votes), clip.path), "a clip", tmp_path / "drawn.png")

    picture = cv2.imread(str(tmp_path / "drawn.png"))
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800
    assert picture.std() > 20


def run(*arguments, cwd):
    command = [sys.executable, "-m", "fer_core.predict", *map(str, arguments)]
    root = Path(__file__).parents[3]
    environment = {"PYTHONPATH": str(root), "PATH": ""}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def test_a_folder_whose_reduction_does_not_fit_its_backbone_is_damaged(votes, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(votes, folder)
    tensors = load_file(folder / "weights.safetensors")
    for name in ("mean", "scale"):
        tensors[f"streams.0.{name}"] = tensors[f"streams.0.{name}"][:-1].clone()
    save_file(tensors, folder / "weights.safetensors")

    with pytest.raises(DataError, match="is damaged: its scaling or PCA is for"):
        model_folder.load(folder)


def test_the_command_prints_and_draws(votes, clip, tmp_path):
    done = run(votes, clip.path, "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert sum(printed["clip"]["emotion"].values()) == pytest.approx(1, abs=1e-5)
    assert len(printed["over_time"]["emotion"]["happiness"]) == len(printed["seconds"])
    assert (tmp_path / f"{clip.path.stem}-timeline.png").stat().st_size > 10_000


@pytest.mark.parametrize("case", ["no video", "no model", "text", "damaged"])
def test_bad_input_is_one_line(case, votes, clip, tmp_path):
    folder, path = votes, clip.path
    if case == "no video":
        path = tmp_path / "gone.mp4"
    if case == "text":
        path = tmp_path / "text.mp4"
        path.write_text("no video")
    if case == "no model":
        folder = tmp_path
    if case == "damaged":
        folder = tmp_path / "damaged"
        folder.mkdir()
        for file in votes.iterdir():
            data = file.read_bytes()
            cut = file.name == "weights.safetensors"
            (folder / file.name).write_bytes(data[: len(data) // 2] if cut else data)

    done = run(folder, path, cwd=tmp_path)

    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_holds_something_is_not_written_over(votes, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(DataError, match="not empty"):
        model_folder.save(model_folder.load(votes), tmp_path, card="")


def test_an_exported_folder_says_what_it_is(votes):
    assert sorted(file.name for file in votes.iterdir()) == [
        "README.md",
        "config.json",
        "labels.json",
        "preprocessing.json",
        "weights.safetensors",
    ]
    steps = json.loads((votes / "preprocessing.json").read_text())
    assert steps["streams"][0]["view"] == "aligned"
    assert steps["streams"][0]["mean"] == pytest.approx([122.782, 117.001, 104.298])
    assert json.loads((votes / "labels.json").read_text())["classes"][0] == "happiness_acted"


def test_what_was_exported_is_exported_again_the_same(exported, tmp_path):
    model_folder.save(model_folder.load(exported), tmp_path / "again", card="# A card\n")

    for file in exported.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_real_clips_are_read(votes, shared_data):
    for path in sorted((shared_data / "video").glob("*.flv"))[:2]:
        found = predict(model_folder.load(votes), path)

        assert found.has_face.mean() > 0.9
        assert np.isfinite(found.over_time).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_windows_score_the_same_alone_as_together(encoding, study_data):
    config = replace(GRU, streams=(GeometryConfig(encoding=encoding),), fusion=None)
    model = refit(config, study_data)
    track = next(tracks(config, study_data))
    windows = [np.array([3, 8, 9]), np.array([4, 4, 20]), np.array([8, 9, 30])]

    together = Reader(model, track).scores(windows)

    alone = [Reader(model, track).scores([window]) for window in windows]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_a_volume_beside_frames_that_vote_reads_whole_windows(study_data, clip, tmp_path):
    streams = (C3D.streams[0], GeometryConfig(encoding="motion"))
    config = replace(C3D, streams=streams, fusion=FusionConfig())
    model_folder.save(refit(config, study_data), tmp_path / "model", card="")

    found = predict(model_folder.load(tmp_path / "model"), clip.path)

    np.testing.assert_allclose(found.over_time.sum(axis=1), 1, rtol=1e-5)


def tracks(config, study_data):
    for entry in TrialContext(config, study_data, torch.device("cpu")).faces.entries:
        faces = Faces(entry)
        yield from map(faces.track, faces.clips)


@pytest.mark.parametrize("picture", ["nowhere/x.png", "x.foo"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_read(picture, votes, clip):
    done = run(votes, clip.path, "--picture", picture, cwd=votes.parent)

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --picture is {picture}")
    assert done.stderr.count("\n") == 1
