import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import DataError
from fer_core.faces.frontal import mean_face
from fer_core.faces.point_encodings import PAIRS, STUDY_CENTRE, Procrustes, centred, distances

SIZES = {"centred": 136, "distances": 2278, "procrustes": 136, "difference": 136, "motion": 136}
similarities = st.builds(
    lambda angle, scale, x, y: (scale * np.exp(1j * angle), complex(x, y)),
    st.floats(-3.1, 3.1),
    st.floats(0.1, 100),
    st.floats(-500, 500),
    st.floats(-500, 500),
)


def clips(seed=0, count=3, frames=4):
    """Faces that differ, in pixels, (count, frames, 68, 2)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=0.03, size=(count, frames, 68, 2))
    return (mean_face.landmarks()[:, :2] + noise) * 100 + (112, 70)


def moved(points, similarity):
    factor, shift = similarity
    z = points @ (1, 1j) * factor + shift
    return np.stack([z.real, z.imag], axis=-1)


@pytest.fixture(scope="module")
def encodings():
    procrustes = Procrustes.fit(clips(seed=1))
    return {
        "centred": centred,
        "distances": distances,
        "procrustes": procrustes.apply,
        "difference": procrustes.difference,
        "motion": procrustes.motion,
    }


@pytest.mark.parametrize("name", SIZES)
def test_each_frame_becomes_one_row_of_finite_numbers(encodings, name):
    features = encodings[name](clips())

    assert (features.shape, features.dtype) == ((3, 4, SIZES[name]), np.float32)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("name", SIZES)
def test_a_clip_is_encoded_the_same_alone_as_among_others(encodings, name):
    points = clips()

    np.testing.assert_array_equal(encodings[name](points)[1], encodings[name](points[1]))


@pytest.mark.parametrize("name", ["distances", "procrustes", "difference", "motion"])
@given(similarity=similarities)
def test_where_a_face_is_how_large_and_how_tilted_changes_nothing(encodings, name, similarity):
    points = clips()

    features = encodings[name](moved(points, similarity))

    np.testing.assert_allclose(features, encodings[name](points), atol=1e-5)


@given(scale=st.floats(0.1, 100))
def test_the_studys_encoding_forgets_scale_about_its_centre_only(scale):
    points = clips()

    scaled = (points - STUDY_CENTRE) * scale + STUDY_CENTRE

    np.testing.assert_allclose(centred(scaled), centred(points), atol=1e-5)
    assert np.abs(centred(points + np.array([30, 0])) - centred(points)).max() > 0.01


def test_the_studys_encoding_spans_nought_to_one_with_one_stretch_for_both_axes():
    points = clips()[0, 0]

    features = centred(points).reshape(68, 2)

    assert (features.min(), features.max()) == (0, 1)
    ratio = np.ptp(features, axis=0) / np.ptp(points, axis=0)
    np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-5)


def test_distances_are_those_between_pairs():
    points = clips()[0, 0]

    features = distances(points)

    first, second = PAIRS
    apart = np.linalg.norm(points[first] - points[second], axis=-1)
    np.testing.assert_allclose(features / features[0], apart / apart[0], rtol=1e-5)


@given(turns=st.lists(similarities, min_size=3, max_size=3))
def test_the_mean_shape_is_the_same_however_the_training_faces_lie(turns):
    faces = clips(frames=1)[:, 0]

    other = Procrustes.fit(np.stack([moved(f, t) for f, t in zip(faces, turns, strict=True)]))

    np.testing.assert_allclose(other.mean, Procrustes.fit(faces).mean, atol=1e-6)


def test_the_mean_shape_is_upright_centred_and_fits_no_worse_when_turned():
    fitted = Procrustes.fit(clips())

    eyes = fitted.mean[42:48].mean() - fitted.mean[36:42].mean()
    assert (eyes.real > 0, abs(eyes.imag) < 1e-9, abs(fitted.mean.mean()) < 1e-9) == (True,) * 3
    turned = fitted.apply(clips()).reshape(-1, 68, 2) @ (1, 1j)
    for angle in (-0.01, 0.01):
        worse = (np.abs(turned * np.exp(1j * angle) - fitted.mean) ** 2).sum()
        assert (np.abs(turned - fitted.mean) ** 2).sum() < worse


def test_the_first_frame_of_a_clip_differs_from_itself_by_nothing():
    procrustes = Procrustes.fit(clips(seed=1))

    change = procrustes.difference(clips())

    assert np.abs(change[:, 0]).max() == 0
    assert np.abs(change[:, 1:]).max() > 0


def test_motions_since_the_first_frame_add_up_to_the_difference_from_it():
    procrustes = Procrustes.fit(clips(seed=1))

    path = procrustes.motion(clips()).cumsum(axis=1)

    np.testing.assert_allclose(path, procrustes.difference(clips()), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("encode", [lambda p: centred(p, centre=(0, 0)), distances, Procrustes.fit])
def test_points_that_fall_into_one_are_refused(encode, value):
    with pytest.raises(DataError, match="span no face"):
        encode(np.full((2, 68, 2), value))
