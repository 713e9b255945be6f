"""Trials on faces that are given: which clips they are scored on, and what they see of each."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.config import (
    GIVEN,
    ONE_FRAME,
    Config,
    FusionConfig,
    GeometryConfig,
    OptimizerConfig,
    StreamConfig,
)
from fer_core.data.datasets import DATASETS, load
from fer_core.data.study_data import StudyData
from fer_core.faces import tracks
from fer_core.faces.follow import LEFT_OUT
from fer_core.predict import model_folder
from fer_core.predict.clip_views import ClipViews
from fer_core.predict.on_video import predict
from fer_core.trial.baselines import cross_validate as cross_validate_baseline
from fer_core.trial.evaluate import cross_validate, prepare_trial, refit, score_sealed
from tests.fer_core.crops import BLANK

QUICK = OptimizerConfig(epochs=2)
SEES = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
)
ALIGNED = Config(streams=(SEES,), optimizer=QUICK)
WHOLE = Config(streams=(replace(SEES, view=GIVEN),), optimizer=QUICK)
POINTS = Config(streams=(GeometryConfig(),), optimizer=QUICK)


@pytest.fixture(scope="module")
def crops(face_crops, store):
    """The table of crops, split as published: what lacks a face is shown as a whole."""
    manifest = load("fer2013", face_crops)
    return StudyData(
        manifest=manifest,
        protocol=DATASETS["fer2013"].protocols["official"].split(manifest),
        task="emotion",
        seed=0,
        store=store,
        weights={},
        landmarks="dlib-closer",
        clip=ONE_FRAME,
        given_faces=True,
        missing="fallback",
    )


@pytest.fixture(scope="module")
def blank(crops):
    return crops.manifest.clips[BLANK].clip


def scored(config, study_data):
    """The clips that a trial is scored on, those among them that it cannot show, and the trial."""
    trial = prepare_trial(config, study_data)
    return {*trial.clips, *(clip.clip for clip in trial.lost)}, {c.clip for c in trial.lost}, trial


def test_whole_pictures_lose_no_clip_and_look_for_no_face(crops, tmp_path):
    clips, lost, trial = scored(WHOLE, replace(crops, store=tmp_path))

    assert clips == {clip.clip for clip in crops.manifest.clips}
    assert lost == set()
    assert trial.fallback_share == 0
    assert trial.context.tally.work.faces_searched == 0


def test_a_clip_without_a_face_is_shown_as_a_whole_and_the_trial_says_for_what_share(crops, blank):
    clips, lost, trial = scored(ALIGNED, crops)

    assert clips == {clip.clip for clip in crops.manifest.clips}
    assert lost == set()
    assert blank in trial.streams[0].fallbacks
    assert trial.fallback_share == len(trial.streams[0].fallbacks) / len(clips) > 0


def test_for_points_a_clip_without_a_face_counts_as_wrong(crops, blank):
    clips, lost, trial = scored(POINTS, crops)

    assert clips == {clip.clip for clip in crops.manifest.clips}
    assert blank in lost
    assert trial.fallback_share == 0


def test_with_wrong_a_clip_without_a_face_counts_as_wrong_for_views_too(crops, blank):
    clips, lost, _ = scored(ALIGNED, replace(crops, missing="wrong"))

    assert clips == {clip.clip for clip in crops.manifest.clips}
    assert blank in lost


def test_with_leave_out_no_trial_is_scored_on_a_clip_without_a_face(crops, blank):
    left_out = replace(crops, missing="leave-out")

    found = [scored(config, left_out) for config in (ALIGNED, WHOLE, POINTS)]

    assert all(blank not in clips for clips, _, _ in found)
    assert len({frozenset(clips) for clips, _, _ in found}) == 1


def test_the_sealed_test_scores_the_whole_test_part(crops):
    test = {clip.clip for clip in crops.manifest.clips if clip.part == "test"}

    for config in (WHOLE, ALIGNED):
        assert set(score_sealed(config, crops).clips) == test


def test_each_fold_says_for_what_share_of_the_clips_the_picture_took_the_place(crops):
    results = [*cross_validate(ALIGNED, crops)]

    assert {result.fallback_share > 0 for result in results} == {True}
    assert np.isfinite(np.concatenate([result.probabilities for result in results])).all()


@pytest.mark.parametrize("baseline", ["majority", "features+logistic"])
def test_baselines_that_read_no_points_look_for_no_face(crops, baseline, tmp_path):
    results = [*cross_validate_baseline(baseline, replace(crops, store=tmp_path))]

    assert {result.work.faces_searched for result in results} == {0}
    scored = sum(len(result.clips) for result in results)
    assert scored == sum(clip.part == "val" for clip in crops.manifest.clips)


def test_an_exported_model_takes_each_picture_for_a_face_unless_it_is_told_to_look(
    crops, london, tmp_path
):
    folder = tmp_path / "model"
    model_folder.save(refit(WHOLE, crops), folder, card="# A card\n")
    model, portrait = model_folder.load(folder), next((london / "smiling").glob("*.jpg"))

    as_trained, cut = predict(model, portrait), predict(model, portrait, cuts_given=True)

    assert not np.allclose(as_trained.clip, cut.clip)
    assert as_trained.faces.shape == cut.faces.shape


def test_each_stream_of_an_exported_model_reads_the_frames_that_a_trial_picks_for_it(
    crops, tmp_path
):
    both = Config(streams=(replace(SEES, view=GIVEN), SEES), fusion=FusionConfig(), optimizer=QUICK)
    folder = tmp_path / "model"
    model_folder.save(refit(both, crops), folder, card="# A card\n")
    rows = np.zeros(5, tracks.FRAME)
    pictures = tracks.Track(rows, np.zeros(0, np.uint8))
    with_face = rows.copy()
    with_face["state"][:4] = LEFT_OUT
    face = tracks.Track(with_face, np.zeros(0, np.uint8))

    picked = ClipViews(face=face, pictures=pictures).picked(model_folder.load(folder))

    assert [each.tolist() for each in picked] == [[2], [4]]
