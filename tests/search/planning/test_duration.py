import heapq
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.config import Config, GeometryConfig, OptimizerConfig
from fer_core.errors import ConfigError
from search.planning import duration
from search.planning.duration import heads_of, predict_duration


def drawn(count):
    points = GeometryConfig()
    return [
        Config(streams=(points,), optimizer=OptimizerConfig(lr=1e-3 * (1 + i)))
        for i in range(count)
    ]


def of(configs, fold_seconds, **changes):
    common = {"folds": 5, "raced": False, "stage_seconds": 0.0, "workers": 1}
    return predict_duration(configs, fold_seconds, **common | changes)


def test_without_pruning_a_study_takes_what_its_folds_take():
    foreseen = of(drawn(10), lambda _: 2.0)

    handling = 10 * duration.HANDLING_SECONDS + duration.START_SECONDS
    assert foreseen.seconds == pytest.approx(10 * 5 * 2.0 + handling)
    assert foreseen.seconds_p90 == pytest.approx(foreseen.seconds)


def test_pruning_spares_most_of_it():
    assert (
        of(drawn(60), lambda _: 2.0, raced=True).seconds
        < 200
        < of(drawn(60), lambda _: 2.0).seconds
    )


def test_trials_that_differ_make_the_p90_later_than_the_median():
    foreseen = of(drawn(20), lambda config: 1000 * config.optimizer.lr)

    assert foreseen.seconds_p90 > 1.05 * foreseen.seconds


def test_workers_share_stages_and_trials():
    one, two = (of(drawn(40), lambda _: 1.0, stage_seconds=60.0, workers=n) for n in (1, 2))

    assert one.seconds - duration.START_SECONDS == pytest.approx(
        2 * (two.seconds - duration.START_SECONDS), rel=0.1
    )


def test_a_probe_ends_when_its_time_is_up(monkeypatch):
    monkeypatch.setattr(duration, "PROBE_SECONDS", 0.0)

    assert of(drawn(30), lambda _: 1.0).probed == 1


def test_a_config_that_will_fail_costs_nothing():
    def impossible(_):
        raise ConfigError("impossible")

    assert of(drawn(3), impossible).seconds < duration.START_SECONDS + 1


def test_hours_are_written_as_hours():
    text = str(
        duration.Duration(seconds=3600, seconds_p90=7200, stage_seconds=30, probed=1, workers=2)
    )

    assert text == (
        "about 60 min on 2 workers, and less than 2.0 h in 9 of 10 cases (P90); "
        "stages take 30 s of it if the store has none of them"
    )


@pytest.mark.parametrize(("folds", "raced"), [(5, False), (5, True), (2, True), (1, True)])
def test_chances_of_ending_at_a_rung_add_up_and_the_last_rung_is_a_whole_trial(folds, raced):
    found = duration.expected_pruning(folds, raced=raced)

    assert found.chances.sum() == pytest.approx(1)
    assert found.shares[-1] == 1
    assert list(found.shares) == sorted(found.shares)


def test_nine_of_ten_pruned_studies_end_within_the_p90_that_was_predicted_before_the_start():
    generator, kept = np.random.default_rng(2), 0
    configs, pruning = drawn(40), duration.expected_pruning(5, raced=True)

    for _ in range(200):
        probed = dict(zip(configs[:12], generator.gamma(4, size=12), strict=True))
        foreseen = of(configs[:12] * 4, probed.__getitem__, raced=True, workers=2)
        rungs = generator.choice(len(pruning.chances), 48, p=pruning.chances)
        rungs[: pruning.exempt] = len(pruning.chances) - 1
        free = [0.0, 0.0]
        for seconds, rung in zip(5 * generator.gamma(4, size=48), rungs, strict=True):
            heapq.heapreplace(free, free[0] + seconds * pruning.shares[rung])
        kept += max(free) <= foreseen.seconds_p90 - duration.START_SECONDS

    assert 0.8 <= kept / 200 <= 0.97


@given(gpu=st.floats(1, 192), head=st.floats(0.01, 200))
def test_as_many_heads_share_a_gpu_as_its_memory_holds(gpu, head):
    count = heads_of(gpu, head)

    assert 1 <= count <= duration.MOST_HEADS
    assert count == 1 or count * (duration.SAFETY * head + duration.CONTEXT_GIB) <= gpu
    assert (
        count == duration.MOST_HEADS
        or (count + 1) * (duration.SAFETY * head) > gpu - (count + 1) * duration.CONTEXT_GIB
    )


def test_heads_of_which_a_gpu_holds_eight_are_suggested_an_eighth():
    foreseen = replace(of(drawn(3), lambda _: 1.0), head_gib=0.31)

    assert foreseen.gpu_share_advice == (
        "trials that train only a head take at most 0.31 GiB per pack (counted on the CPU); "
        "--gpus-per-head 0.125 suits a GPU of 24 GiB"
    )
