from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import ENCODINGS, FusionConfig, GeometryConfig
from fer_core.faces.tracks import Faces
from fer_core.features.context import TrialContext
from fer_core.predict import model_folder
from fer_core.predict.clip_views import ClipViews
from fer_core.predict.on_video import Reader, predict
from fer_core.predict.prediction import text
from fer_core.trial.evaluate import refit
from tests.fer_core.faces.oddities import retimed
from tests.fer_core.predict.models import C3D, GRU


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
    assert found.seconds[-1] <= found.times[-1]


def test_real_clips_are_read(votes, shared_data):
    for path in sorted((shared_data / "video").glob("*.flv"))[:2]:
        found = predict(model_folder.load(votes), path)

        assert found.has_face.mean() > 0.9
        assert np.isfinite(found.over_time).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_windows_score_the_same_alone_as_together(encoding, study_data):
    config = replace(GRU, streams=(GeometryConfig(encoding=encoding),), fusion=None)
    model = refit(config, study_data)
    seen = ClipViews(face=next(tracks(config, study_data)), pictures=None)
    windows = [np.array([3, 8, 9]), np.array([4, 4, 20]), np.array([8, 9, 30])]

    together = Reader(model, seen).scores(windows)

    alone = [Reader(model, seen).scores([window]) for window in windows]
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


def test_moments_are_told_by_the_times_of_a_variable_rate(votes, clip, tmp_path):
    copy = retimed(clip.path, tmp_path / "a.mp4", lambda pts: pts if pts < 600 else 8 * pts - 4200)
    model = model_folder.load(votes)

    found, usual = predict(model, copy), predict(model, clip.path)

    np.testing.assert_allclose(found.times[:2], usual.times[:2], atol=1e-6)
    assert found.times[-1] > 2 * usual.times[-1]
    np.testing.assert_allclose(found.seconds, found.times[:-1][found.has_face], atol=1e-5)


def test_windows_over_a_variable_rate_stay_within_the_video(exported, clip, tmp_path):
    copy = retimed(clip.path, tmp_path / "a.mp4", lambda pts: pts if pts < 600 else 8 * pts - 4200)

    found = predict(model_folder.load(exported), copy)

    assert found.seconds[-1] <= found.times[-1]
    assert (np.diff(found.seconds) > 0).all()
