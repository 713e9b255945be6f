"""What cannot work on given data is refused before anything is computed."""

from dataclasses import replace
from pathlib import Path

import pytest

from fer_core.config import (
    CHANGES,
    ONE_FRAME,
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    StreamConfig,
)
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import sealed_and_folds
from fer_core.data.study_data import StudyData
from fer_core.errors import ConfigError
from fer_core.trial import feasibility

FROZEN = StreamConfig(backbone="dlib_resnet", weights="random", blocks=3, freeze_depth=3)


@pytest.fixture
def study_data(tmp_path):
    """Twelve people, smiling and not, on video; there is no file behind any of it."""
    clips = tuple(
        Clip(
            clip=f"{subject}-{emotion}",
            subject=subject,
            emotion=emotion,
            authenticity=None,
            path=Path(f"{subject}-{emotion}.mp4"),
            sha256="",
        )
        for subject in map(str, range(12))
        for emotion in ("happiness", "neutral")
    )
    return StudyData(
        manifest=Manifest(dataset="folder", root=tmp_path, clips=clips),
        protocol=sealed_and_folds([c.subject for c in clips], [c.emotion for c in clips]),
        task="emotion",
        seed=0,
        store=tmp_path / "store",
        weights={},
        landmarks="dlib",
    )


def refusal(config, study_data):
    with pytest.raises(ConfigError) as refused:
        feasibility.check(config, study_data)
    assert not study_data.store.exists()
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_what_can_work_is_let_through(study_data):
    feasibility.check(Config(streams=(replace(FROZEN, pca_dim=20),)), study_data)


def test_more_pca_dimensions_than_training_frames(study_data):
    config = Config(streams=(replace(FROZEN, pca_dim=200),))

    assert "stream.pca_dim is 200" in refusal(config, study_data)
    assert "allow at most" in refusal(config, study_data)


def test_more_pca_dimensions_than_features(study_data):
    config = Config(streams=(replace(FROZEN, pooling="avg", pca_dim=65),))

    assert "of 64 features allow at most 64" in refusal(config, study_data)


def test_an_unpooled_head_beyond_the_memory_there_is(study_data, monkeypatch):
    monkeypatch.setattr(feasibility.machine, "total_bytes", lambda: 2**28)
    config = Config(streams=(FROZEN,), head=HeadConfig(fc_layers=1, fc_width=4096))

    said = refusal(config, study_data)

    assert "GiB with adamw, and there are 0.2 GiB; pool the map" in said
    feasibility.check(replace(config, streams=(replace(FROZEN, pooling="avg"),)), study_data)


def test_unfrozen_blocks_count_as_memory_too(study_data, monkeypatch):
    vgg = StreamConfig(
        backbone="vgg16", weights="random", blocks=5, freeze_depth=5, pooling="avg", crop_pixels=32
    )
    monkeypatch.setattr(feasibility.machine, "total_bytes", lambda: 2**27)

    feasibility.check(Config(streams=(vgg,)), study_data)
    assert "GiB" in refusal(Config(streams=(replace(vgg, freeze_depth=0),)), study_data)


def test_geometry_without_landmarks(study_data):
    said = refusal(Config(streams=(GeometryConfig(),)), replace(study_data, landmarks="data"))

    assert "geometry needs landmarks, and clip '0-happiness' has none" in said


@pytest.mark.parametrize("encoding", CHANGES)
def test_changes_since_another_frame_of_photographs(encoding, study_data):
    clips = tuple(replace(c, path=c.path.with_suffix(".jpg")) for c in study_data.manifest.clips)
    manifest = replace(study_data.manifest, clips=clips)
    stills = replace(study_data, manifest=manifest, clip=ONE_FRAME)
    config = Config(streams=(GeometryConfig(encoding=encoding),))

    assert "no first frame to differ from" in refusal(config, stills)


def test_two_heads_without_two_tasks(study_data):
    config = Config(streams=(FROZEN,), head=HeadConfig(two_heads=True))

    assert "but for task 'hidden'" in refusal(config, study_data)


def test_streams_that_cannot_be_added(study_data):
    streams = (FROZEN, GeometryConfig(hidden=8))
    config = Config(streams=streams, fusion=FusionConfig(how="sum"))

    assert "needs streams with equal numbers of features" in refusal(config, study_data)


def test_pca_is_what_streams_are_added_by(study_data):
    streams = tuple(replace(FROZEN, pca_dim=20, view=view) for view in ("crop", "aligned"))
    config = Config(streams=streams, fusion=FusionConfig(how="sum"))
    other = (streams[0], replace(streams[1], pca_dim=10))

    feasibility.check(config, study_data)
    assert "they have 20, 10;" in refusal(replace(config, streams=other), study_data)


def test_a_crop_too_small_for_the_blocks(study_data):
    config = Config(streams=(replace(FROZEN, blocks=6, freeze_depth=6, crop_pixels=32),))

    assert "use a larger crop" in refusal(config, study_data)


def test_a_clip_too_short_for_a_volume(study_data):
    c3d = StreamConfig(
        backbone="c3d_study", weights="random", blocks=5, freeze_depth=0, width=1 / 16
    )
    config = Config(streams=(c3d,), clip=ClipConfig(frames=1))

    assert "1 frames of 112 pixels do not get through" in refusal(config, study_data)


def test_weights_that_nobody_named(study_data):
    config = Config(streams=(replace(FROZEN, backbone="torchvision:resnet18", weights="file"),))

    said = refusal(config, study_data)

    assert "needs --weights torchvision:resnet18=FILE" in said
