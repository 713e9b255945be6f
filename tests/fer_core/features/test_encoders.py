from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import (
    ENCODINGS,
    Config,
    GeometryConfig,
    OptimizerConfig,
    StreamConfig,
)
from fer_core.faces.point_encodings import Procrustes
from fer_core.features import stream_inputs
from fer_core.features.context import TrialContext
from fer_core.features.encoders import encode

FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def points(study_data):
    """Real movements: the landmarks (clips, 2 + T, 68, 2) of the rendered clips."""
    context = TrialContext(Config(streams=(GeometryConfig(),)), study_data, CPU)
    source = stream_inputs.PointStream(GeometryConfig(), context)
    return np.asarray(source._points, np.float64)


def moved(points):
    """Shift, scale and turn every face of a clip alike."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return 1.7 * points @ turn + (40.0, -12.0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_where_a_face_is_how_large_and_how_tilted_changes_no_encoding(encoding, points):
    shape = Procrustes.fit(points)

    here, there = (encode(p, encoding, shape) for p in (points, moved(points)))

    np.testing.assert_allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_frame_has_one_row(encoding, points):
    encoded = encode(points, encoding, Procrustes.fit(points))

    assert encoded.shape[:2] == (points.shape[0], points.shape[1] - 2)


def test_the_difference_is_to_the_first_frame_of_the_clip_not_of_the_window(points):
    still = points[:, [0, 3, 0, 0]]

    assert not encode(still, "difference", Procrustes.fit(points)).any()
    assert encode(points, "difference", Procrustes.fit(points)).std() > 0.01


def test_the_first_motion_is_since_the_frame_before_not_since_the_first_of_the_clip(points):
    shape, still = Procrustes.fit(points), points[:, [0, 3, 3, 3]]

    assert not encode(still, "motion", shape).any()
    apart = shape.apply(points)[:, 2] - shape.apply(points)[:, 1]
    np.testing.assert_allclose(encode(points, "motion", shape)[:, 0], apart, atol=1e-6)


class Moving:
    """A track of frames, each with its number as its points; two of them show no face."""

    usable = np.ones(20, bool)
    points = np.arange(20.0)[:, None, None] * np.ones((1, 68, 2))


@pytest.mark.parametrize(
    ("frames", "step", "expected"),
    [
        ([10, 13, 16], 1, [2, 7, 10, 13, 16]),
        ([4, 7], 1, [2, 2, 4, 7]),  # there is no frame so early: the first stands in
        ([8, 12], 1, [2, 3, 8, 12]),  # frame 4 shows no face
        ([9, 9], 1, [2, 8, 9, 9]),
        ([9], 5, [2, 3, 9]),
    ],
)
def test_frames_are_compared_with_the_first_usable_one_and_with_one_as_far_before(
    frames, step, expected
):
    Moving.usable[[0, 1, 4]] = False

    points = stream_inputs.points_of(Moving(), np.array(frames), step=step)

    assert points[:, 0, 0].tolist() == expected


@pytest.mark.parametrize(("place", "heeding"), [(0, "difference"), (1, "motion")])
def test_only_a_change_heeds_the_frame_that_it_is_since(points, place, heeding):
    other = points.copy()
    other[:, place] = points[::-1, -1]
    shape = Procrustes.fit(points)

    for encoding in ENCODINGS:
        same = np.array_equal(encode(points, encoding, shape), encode(other, encoding, shape))
        assert same == (encoding != heeding)


@pytest.mark.parametrize("stream", [FROZEN, replace(FROZEN, pooling="none", pca_dim=5)])
def test_what_is_fitted_sees_the_training_clips_alone(stream, study_data):
    context = TrialContext(Config(streams=(stream,)), study_data, CPU)
    source = stream_inputs.open_stream(stream, context)
    source.arrange(source.clips)
    train = np.arange(10)

    given = source.fit(train).batch(train, None)

    features = given.reshape(-1, given.shape[-1])
    torch.testing.assert_close(features.mean(0), torch.zeros(features.shape[1]), atol=1e-3, rtol=0)
    assert float(features.std()) == pytest.approx(1, abs=0.05)


def given_of(config, study_data):
    source = stream_inputs.open_stream(config.streams[0], TrialContext(config, study_data, CPU))
    source.arrange(source.clips)
    return source.fit(np.arange(10)).stream_input


def test_whole_maps_under_sgd_are_turned_onto_what_the_training_frames_span(study_data):
    config = Config(streams=(replace(FROZEN, pooling="none"),))
    sgd = replace(config, optimizer=OptimizerConfig(name="sgd"))

    whole, turned = given_of(config, study_data), given_of(sgd, study_data)

    assert (whole.unreduced, turned.unreduced) == (None, whole.sample.shape[-1])
    assert turned.sample.shape[-1] == 10 * config.clip.frames - 1
    lengths = [given.sample.norm(dim=-1) for given in (whole, turned)]
    torch.testing.assert_close(*lengths, rtol=1e-4, atol=0)


def test_each_fold_trains_blocks_of_its_own(study_data):
    config = Config(streams=(replace(FROZEN, freeze_depth=2),))

    first, second = (given_of(config, study_data).blocks for _ in range(2))
    with torch.no_grad():
        for weight in first.parameters():
            weight.zero_()

    assert all(weight.any() for weight in second.parameters() if weight.ndim > 1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points_are_standardised_on_the_training_clips_alone(encoding, study_data):
    stream = GeometryConfig(encoding=encoding)
    context = TrialContext(Config(streams=(stream,)), study_data, CPU)
    source = stream_inputs.open_stream(stream, context)
    source.arrange(source.clips)

    first = source.fit(np.arange(10)).batch(np.arange(10), None)
    other = source.fit(np.arange(10, 20)).batch(np.arange(10), None)

    assert float(first.mean()) == pytest.approx(0, abs=1e-3)
    assert not torch.allclose(first, other)
