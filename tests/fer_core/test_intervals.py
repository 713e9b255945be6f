import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.intervals import interval
from fer_core.scoring import METRICS, score


def one_hot(predicted, classes):
    return np.eye(classes, dtype=np.float32)[predicted]


def scored(seed, people, classes=3, clips=6, hit_rate=0.7):
    """Clips of people in turn: labels, probabilities, subjects."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), -(-people * clips // classes))[: people * clips]
    predicted = np.where(rng.random(len(labels)) < hit_rate, labels, (labels + 1) % classes)
    return labels, one_hot(predicted, classes), np.arange(len(labels)) // clips


@settings(deadline=None)  # the first example imports scipy
@given(
    st.sampled_from(METRICS),
    st.integers(0, 999),
    st.integers(3, 30),
    st.floats(0, 1),
    st.integers(2, 7),
)
def test_an_interval_lies_in_the_unit_range_and_holds_the_score(
    metric, seed, people, hit_rate, classes
):
    labels, probabilities, subjects = scored(seed, people, classes, hit_rate=hit_rate)

    found = interval(metric, labels, probabilities, subjects)

    value = getattr(score(labels, probabilities), metric)
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low > 0.01


@settings(deadline=None)
@given(st.integers(0, 99), st.sampled_from(METRICS))
def test_the_order_of_clips_and_the_names_of_subjects_do_not_matter(seed, metric):
    labels, probabilities, subjects = scored(seed, 5)
    order = np.random.default_rng(seed).permutation(len(labels))
    names = np.array([f"p{subject}" for subject in subjects])

    first = interval(metric, labels, probabilities, subjects)
    again = interval(metric, labels[order], probabilities[order], names[order])

    assert (again.low, again.high) == pytest.approx((first.low, first.high))


@pytest.mark.parametrize("metric", METRICS)
def test_an_interval_shrinks_with_more_subjects(metric):
    widths = []
    for people in (3, 5, 10, 40, 400):
        found = interval(metric, *scored(0, people))
        widths.append(found.high - found.low)

    assert widths == sorted(widths, reverse=True)


def test_five_perfect_people_are_not_certain():
    found = interval("uar", *scored(0, 5, classes=6, hit_rate=1.0))

    assert found.low == pytest.approx(0.77, abs=0.005)
    assert found.high == 1.0


@pytest.mark.parametrize("people", [1, 2])
def test_two_subjects_have_no_interval(people):
    assert interval("uar", *scored(0, people)) is None


def test_subjects_that_differ_much_are_less_certain_than_alike_ones():
    labels = np.tile([0, 1], 50)
    subjects = np.arange(100) // 10
    alike = np.where(np.arange(100) % 10 < 6, labels, 1 - labels)
    apart = np.where(subjects < 6, labels, 1 - labels)

    narrow = interval("uar", labels, one_hot(alike, 2), subjects)
    wide = interval("uar", labels, one_hot(apart, 2), subjects)

    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def simulated(rng, people, classes, mean, spread):
    """A crossed design: each person shows each class once, and differs in how well it is told."""
    subjects, labels = np.divmod(np.arange(people * classes), classes)
    ability = rng.normal(0, spread, people)[subjects] + np.linspace(-0.7, 0.7, classes)[labels]
    hit = rng.random(len(labels)) < 1 / (1 + np.exp(-ability - mean))
    return labels, one_hot(np.where(hit, labels, (labels + 1) % classes), classes), subjects


@pytest.mark.slow
@pytest.mark.parametrize("people", [3, 5, 8, 24])
@pytest.mark.parametrize(("mean", "spread"), [(0.3, 0.6), (2.2, 0.8)])
def test_intervals_hold_the_true_value_as_often_as_they_say(people, mean, spread):
    rng = np.random.default_rng(0)
    abilities = rng.normal(0, spread, 100_000)[:, None] + np.linspace(-0.7, 0.7, 6) + mean
    truth = (1 / (1 + np.exp(-abilities))).mean()

    drawn = [simulated(rng, people, 6, mean, spread) for _ in range(500)]
    found = [interval("uar", *each) for each in drawn]

    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / len(drawn))
