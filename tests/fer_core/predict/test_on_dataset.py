"""All clips of a dataset, scored with a model that has never seen it."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.errors import DataError
from fer_core.predict import model_folder, on_dataset
from fer_core.trial.evaluate import score_sealed
from tests.fer_core.predict.models import VOTES


def test_a_clip_gets_the_probabilities_that_a_sealed_test_gives_it(votes, study_data):
    model = model_folder.load(votes)
    sealed = score_sealed(VOTES, study_data)

    scored = on_dataset.score(model, replace(study_data, task="hidden"))

    assert len(scored.clips) == len(study_data.manifest.clips)
    places = [scored.clips.index(clip) for clip in sealed.clips]
    np.testing.assert_allclose(scored.probabilities[places], sealed.probabilities, atol=1e-5)
    assert scored.labels[places].tolist() == sealed.labels.tolist()
    assert scored.subjects[places].tolist() == sealed.subjects.tolist()


@pytest.fixture
def distorted(study_data, tmp_path):
    """Three clips; in the first, eyes, nose and mouth lie on one point, which fits no face."""
    first, *others = study_data.manifest.clips[:3]
    points = np.load(first.landmarks)
    path = tmp_path / "points.npy"
    points[:, [30, *range(36, 49), 54]] = points.mean(axis=(0, 1)).round()
    np.save(path, points)
    clips = (replace(first, landmarks=path, landmarks_sha256="distorted"), *others)
    manifest = replace(study_data.manifest, clips=clips)
    return replace(study_data, manifest=manifest, store=tmp_path / "store", task="hidden")


def test_a_clip_whose_view_cannot_be_shown_counts_as_wrong(votes, distorted):
    scored = on_dataset.score(model_folder.load(votes), distorted)

    place = scored.clips.index(distorted.manifest.clips[0].clip)
    shown = np.delete(scored.probabilities, place, axis=0)
    assert np.isnan(scored.probabilities[place]).all()
    assert not np.isnan(shown).any()


@pytest.fixture
def faceless(study_data, tmp_path):
    """Three clips; the landmarks of the first are NaN in each frame: nobody found a face."""
    first, *others = study_data.manifest.clips[:3]
    path = tmp_path / "points.npy"
    np.save(path, np.full_like(np.load(first.landmarks), np.nan))
    clips = (replace(first, landmarks=path, landmarks_sha256="faceless"), *others)
    manifest = replace(study_data.manifest, clips=clips)
    return replace(study_data, manifest=manifest, store=tmp_path / "store", task="hidden")


@pytest.mark.parametrize(("missing", "count"), [("leave-out", 2), ("wrong", 3), ("fallback", 3)])
def test_a_clip_without_a_face_is_left_out_or_counts_as_wrong(votes, faceless, missing, count):
    scored = on_dataset.score(model_folder.load(votes), replace(faceless, missing=missing))

    assert len(scored.clips) == count
    assert np.isnan(scored.probabilities).all(axis=1).sum() == count - 2


def test_data_without_a_class_of_the_model_are_refused(votes, study_data):
    none = tuple(replace(clip, emotion="contempt") for clip in study_data.manifest.clips)
    other = replace(study_data, manifest=replace(study_data.manifest, clips=none), task="hidden")

    with pytest.raises(DataError, match=r"no clip of .* can be used"):
        on_dataset.score(model_folder.load(votes), other)
