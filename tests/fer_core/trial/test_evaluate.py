from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import (
    AugmentConfig,
    HeadConfig,
    OptimizerConfig,
)
from fer_core.data.datasets import load
from fer_core.errors import ConfigError, DataError
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces
from fer_core.features.context import TrialContext
from fer_core.models.network import Network
from fer_core.predict import model_folder
from fer_core.predict.clip_views import ClipViews
from fer_core.predict.on_video import Reader
from fer_core.scoring import score
from fer_core.trial import pack
from fer_core.trial import trial_data as trial_data_module
from fer_core.trial.evaluate import cross_validate, prepare_trial, refit, score_sealed
from tests.cases import mostly_slow
from tests.fer_core.trial.kinds import CNN, FROZEN, KINDS, UNPOOLED, of

QUICK = ("frames that vote", "pca", "augmented", "points and frames over time", "two heads")


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def config(request):
    return request.param


@pytest.mark.parametrize("config", mostly_slow(KINDS, QUICK), indirect=True)
def test_every_kind_of_model_gives_the_same_scores_again_to_the_last_bit(config, study_data):
    first = list(cross_validate(config, study_data))

    again = list(cross_validate(config, study_data))

    assert len(first) == 5
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
        assert a.losses == b.losses


def test_an_exported_model_scores_as_in_training(config, study_data, tmp_path):
    sealed = score_sealed(config, study_data)

    model_folder.save(refit(config, study_data), tmp_path / "model", card="")
    model = model_folder.load(tmp_path / "model")

    clips = sealed.clips[:3]
    scores = [read_again(model, clip, config, study_data) for clip in clips]
    np.testing.assert_allclose(scores, sealed.probabilities[: len(clips)], rtol=0, atol=1e-5)


def read_again(model, clip, config, study_data):
    """Score a clip from its frames, with the landmarks that training had."""
    for entry in TrialContext(config, study_data, torch.device("cpu")).faces.entries:
        if clip in Faces(entry).clips:
            track = Faces(entry).track(clip)
            window = pick(track.points, track.usable, model.clip)
            seen = ClipViews(face=track, pictures=None)
            return model.voted(Reader(model, seen).scores([window]))[0]
    raise AssertionError(clip)


def test_both_streams_of_a_clip_are_mirrored_alike(study_data):
    stream = replace(FROZEN, freeze_depth=3, crop_pixels=48)
    config = of(
        stream, stream, augment=AugmentConfig(zoom=0.2), optimizer=OptimizerConfig(epochs=2)
    )
    trial_data = prepare_trial(config, study_data)
    seen = []

    class Watched(Network):
        def forward(self, given, lengths):
            seen.append(given)
            return super().forward(given, lengths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_data_module, "Network", Watched)
        pack.train_fit(trial_data, trial_data.begin(np.arange(8), "watched"))

    first, second = seen[0]
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, seen[-1][0][: len(first)])


def test_a_second_trial_decodes_no_frame_and_runs_no_frozen_backbone(study_data, tmp_path):
    fresh = replace(study_data, store=tmp_path)
    first = next(cross_validate(CNN, fresh)).work

    second = next(cross_validate(replace(CNN, head=HeadConfig(fc_layers=2)), fresh)).work

    assert first.frames_decoded > 0
    assert first.backbone_images == 3 * len(study_data.manifest.clips)
    assert (second.frames_decoded, second.backbone_images, second.stages_made) == (0, 0, 0)
    assert second.stages_read + second.stages_held > 0
    assert second.seconds_saved > 0


def test_scores_are_the_same_whether_stages_are_read_or_made(study_data, fresh):
    read = next(cross_validate(CNN, study_data))

    made = next(cross_validate(CNN, fresh))

    np.testing.assert_array_equal(read.probabilities, made.probabilities)


def test_every_development_clip_is_scored_once_and_no_sealed_one(study_data):
    results = list(cross_validate(CNN, study_data))

    scored = sorted(clip for result in results for clip in result.clips)
    sealed = study_data.protocol.sealed
    assert scored == [c.clip for c in study_data.manifest.clips if c.subject not in sealed]


def test_what_the_sealed_subjects_show_changes_nothing_in_the_search(study_data):
    other = {"happiness": "sadness", "sadness": "happiness"}
    clips = tuple(
        replace(c, emotion=other[c.emotion]) if c.subject in study_data.protocol.sealed else c
        for c in study_data.manifest.clips
    )
    altered = replace(study_data, manifest=replace(study_data.manifest, clips=clips))

    for a, b in zip(cross_validate(CNN, study_data), cross_validate(CNN, altered), strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_an_emotion_is_told_on_subjects_that_were_never_seen(study_data):
    result = score_sealed(CNN, study_data)

    assert result.metrics.uar > 0.8
    sealed = study_data.protocol.sealed
    assert set(result.subjects) == set(sealed)
    assert len(result.clips) == len(result.labels) == 4 * len(sealed)


def test_clips_that_a_trial_cannot_show_count_as_wrong(study_data):
    whole = prepare_trial(CNN, study_data)
    shorter = prepare_trial(CNN, study_data)
    val = next(whole.splits())[1]
    gone = whole.clips[val[0]]
    shorter.clips = tuple(clip for clip in whole.clips if clip != gone)
    kept = np.array([clip != gone for clip in whole.clips])
    shorter.labels, shorter.subjects = whole.labels[kept], whole.subjects[kept]
    shorter.lost = [clip for clip in study_data.manifest.clips if clip.clip == gone]
    perfect = np.eye(2, dtype=np.float32)[whole.labels[val]][:, None]

    result = shorter.result(0, next(shorter.splits())[1], perfect[1:], train_seconds=1.0, params=1)

    assert sorted(result.clips) == sorted(whole.clips[row] for row in val)
    assert np.isnan(result.probabilities[result.clips.index(gone)]).all()
    assert result.metrics.war == pytest.approx(1 - 1 / len(val))


@pytest.mark.slow
def test_on_shuffled_labels_the_winner_opens_within_the_interval_of_chance(rendered, study_data_of):
    manifest = load("synthetic", rendered)
    shuffled = np.random.default_rng(0).permutation([c.emotion for c in manifest.clips])
    clips = tuple(replace(c, emotion=str(e)) for c, e in zip(manifest.clips, shuffled, strict=True))
    noise = study_data_of(replace(manifest, clips=clips))
    configs = [replace(CNN, head=HeadConfig(fc_layers=n)) for n in range(3)]

    winner = max(configs, key=lambda c: np.mean([r.metrics.uar for r in cross_validate(c, noise)]))
    result = score_sealed(winner, noise)

    low, high = interval_of_chance(result.labels, result.probabilities)
    assert low <= result.metrics.uar <= high
    assert high < 0.5


def interval_of_chance(labels, probabilities):
    """Where 99 % of the scores lie if predictions and labels have nothing to do with each other."""
    rng = np.random.default_rng(0)
    chance = [score(rng.permutation(labels), probabilities).uar for _ in range(500)]
    return np.quantile(chance, [0.005, 0.995])


def test_a_truncated_video_among_good_ones_is_left_out_and_named(study_data, tmp_path):
    clip = next(c for c in study_data.manifest.clips if c.subject in study_data.protocol.folds[0])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.path.read_bytes()[:2000])
    clips = tuple(
        replace(c, path=broken, sha256="broken") if c is clip else c
        for c in study_data.manifest.clips
    )
    damaged = replace(study_data, manifest=replace(study_data.manifest, clips=clips))

    result = next(cross_validate(CNN, damaged))

    assert set(result.skipped) == {clip.clip}
    assert "broken.mp4" in result.skipped[clip.clip]
    assert clip.clip not in result.clips


def test_data_of_which_no_clip_can_be_used_are_refused(study_data, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    clips = tuple(replace(c, path=text, sha256="text") for c in study_data.manifest.clips)

    with pytest.raises(DataError, match=r"no clip of .* can be used"):
        next(
            cross_validate(
                CNN, replace(study_data, manifest=replace(study_data.manifest, clips=clips))
            )
        )


def test_more_pca_dimensions_than_the_training_frames_allow_are_refused(study_data):
    with pytest.raises(
        ConfigError, match=r"stream.pca_dim is 500; \d+ training frames of \d+ features"
    ):
        next(cross_validate(of(replace(UNPOOLED, pca_dim=500)), study_data))


@pytest.mark.slow
def test_real_photographs_are_told_apart_subject_independently(london, study_data_of):
    smiles = replace(study_data_of(load("folder", london)), landmarks="dlib")

    results = list(cross_validate(replace(CNN, streams=(UNPOOLED,)), smiles))

    assert np.mean([r.metrics.uar for r in results]) > 0.85
    assert sum(len(r.clips) for r in results) > 150
