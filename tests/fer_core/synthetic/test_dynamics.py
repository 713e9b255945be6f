import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fer_core.data.datasets import sase_fe
from fer_core.faces.frontal.mean_face import mirrored
from fer_core.synthetic.dynamics import ASYMMETRY, draw_course, reflected
from fer_core.synthetic.script import subject_identity, write_script

SUBJECTS = 60
WINDOW = (0.5, 0.8)  # of a clip, from which the study reads five frames
MIRROR = [mirrored(landmark) for landmark in range(68)]


@given(speed=st.floats(-20, 20), time=st.floats(0, 1))
def test_the_reflected_run_is_uniform_at_every_time(speed, time):
    evenly = (np.arange(1000) + 0.5) / 500  # phases over one period

    places = reflected(evenly, speed, np.float64(time))

    assert kstest(places, "uniform").statistic < 0.003


@given(phase=st.floats(0, 2), speed=st.floats(0, 20))
def test_the_reflected_run_never_jumps(phase, speed):
    times = np.linspace(0, 1, 200)

    steps = np.abs(np.diff(reflected(phase, speed, times)))

    assert steps.max() <= speed / 199 + 1e-9


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), authenticity=st.sampled_from(["genuine", "acted"]))
def test_every_expression_rises_from_neutral_to_the_apex_and_never_falls(seed, authenticity):
    course = draw_course(np.random.default_rng(seed), authenticity, 30)

    assert course.intensity[0] == 0
    assert course.intensity[-1] == 1
    assert np.diff(course.intensity).min() >= 0
    assert np.abs(course.asymmetry).max() <= ASYMMETRY


@pytest.mark.parametrize("frame", [5, 15, 20, 24])
def test_single_frames_of_both_classes_have_one_distribution(frame):
    halves = {
        authenticity: np.array(
            [
                draw_course(np.random.default_rng([seed, frame]), authenticity, 30).halves[frame]
                for seed in range(4000)
            ]
        )
        for authenticity in ("genuine", "acted")
    }

    for quantile in (0.1, 0.5, 0.9):
        genuine, acted = (np.quantile(halves[a], quantile, axis=0) for a in halves)
        np.testing.assert_allclose(genuine, acted, atol=0.05)


def test_in_the_window_the_lead_of_an_acted_clip_moves_by_half_its_range():
    times = np.linspace(0, 1, 101)
    window = (times >= WINDOW[0]) & (times <= WINDOW[1])
    for seed in range(200):
        acted = draw_course(np.random.default_rng(seed), "acted", len(times)).asymmetry[window]
        genuine = draw_course(np.random.default_rng(seed), "genuine", len(times)).asymmetry

        assert np.ptp(acted) > ASYMMETRY * 0.9
        assert np.ptp(genuine) == 0


def level(landmarks):
    """Landmarks (.., 68, 2) with the outer corners of the eyes at (-1/2, 0) and (1/2, 0)."""
    right, left = landmarks[..., 36, :], landmarks[..., 45, :]
    axis = left - right
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    x_axis = axis / length
    y_axis = np.stack([-x_axis[..., 1], x_axis[..., 0]], axis=-1)
    centred = (landmarks - ((right + left) / 2)[..., None, :]) / length[..., None, :]
    return np.einsum("...ij,...pj->...pi", np.stack([x_axis, y_axis], axis=-2), centred)


@pytest.fixture(scope="module")
def windows():
    """Five frames' landmarks of every clip, (clips, 5, 68, 2), with its labels and subjects."""
    tracks, authenticities, emotions, subjects = [], [], [], []
    for subject in range(SUBJECTS):
        identity = subject_identity(3, subject)
        for emotion, authenticity in sase_fe.CLIPS.values():
            track = write_script(3, subject, emotion, authenticity, identity=identity).landmarks
            frames = np.linspace(*np.multiply(WINDOW, len(track) - 1), 5).round().astype(int)
            tracks.append(level(track[frames]))
            authenticities.append(authenticity)
            emotions.append(emotion)
            subjects.append(subject)
    return np.array(tracks), np.array(authenticities), np.array(emotions), np.array(subjects)


def accuracy(features, labels, subjects):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    flat = features.reshape(len(features), -1)
    return cross_val_score(model, flat, labels, groups=subjects, cv=GroupKFold(5)).mean()


def test_a_still_cannot_tell_genuine_from_acted(windows):
    tracks, authenticities, _, subjects = windows

    found = [accuracy(tracks[:, frame], authenticities, subjects) for frame in (0, 2, 4)]

    # three standard deviations of chance; folds that share subjects' pairs widen it a little
    np.testing.assert_allclose(found, 0.5, atol=3 * 0.5 / np.sqrt(len(tracks)))


def test_a_sequence_tells_genuine_from_acted(windows):
    tracks, authenticities, _, subjects = windows
    tilt = tracks - tracks[:, :, MIRROR] * [-1, 1]  # what one half of the face does more

    assert accuracy(tilt.std(axis=1), authenticities, subjects) > 0.85


def test_a_still_tells_the_emotion(windows):
    tracks, _, emotions, subjects = windows

    assert accuracy(tracks[:, 4], emotions, subjects) > 0.8
