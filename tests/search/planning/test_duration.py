from dataclasses import replace

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


def test_a_year_is_said_in_hours():
    assert "2.0 h at P90" in str(
        duration.Duration(seconds=3600, seconds_p90=7200, stage_seconds=30, probed=1, workers=2)
    )


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

    assert foreseen.heads == (
        "a pack of heads takes at most 0.31 GiB (counted on cpu): "
        "--gpus-per-head 0.125 on a GPU of 24 GiB"
    )
