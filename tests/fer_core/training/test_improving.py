import numpy as np
import pytest

from fer_core.training.improving import MOST_TIMES, is_improving, next_cycle

EPOCHS = 64
AT = (np.arange(EPOCHS) + 0.5) / EPOCHS
SPENT = {"cosine": AT + np.sin(np.pi * AT) / np.pi, "constant": AT, "plateau": AT}


@pytest.mark.parametrize("schedule", SPENT)
def test_a_loss_that_falls_with_the_rate_that_is_spent_is_improving(schedule):
    losses = list(1.8 - 0.3 * SPENT[schedule])

    assert is_improving(losses, [EPOCHS], schedule)


@pytest.mark.parametrize("schedule", SPENT)
def test_a_loss_that_has_flattened_is_not(schedule):
    losses = list(0.1 + 1.7 * np.exp(-5 * SPENT[schedule]))

    assert not is_improving(losses, [EPOCHS], schedule)


def test_a_loss_that_rises_or_stays_is_not_improving():
    assert not is_improving([1.0] * EPOCHS, [EPOCHS], "constant")
    assert not is_improving(list(np.linspace(1, 2, EPOCHS)), [EPOCHS], "constant")


def test_noise_as_by_dropout_does_not_hide_the_trend():
    noise = np.random.default_rng(0).normal(0, 0.03, size=(50, EPOCHS))
    falling = 1.8 - 0.8 * SPENT["cosine"] + noise
    flat = 0.5 + 1.3 * np.exp(-8 * SPENT["cosine"]) + noise

    assert sum(is_improving(list(each), [EPOCHS], "cosine") for each in falling) >= 40
    assert sum(is_improving(list(each), [EPOCHS], "cosine") for each in flat) <= 5


def test_a_fit_that_ended_before_its_last_epoch_or_has_three_epochs_shows_no_trend():
    assert not is_improving(list(np.linspace(2, 1, EPOCHS - 1)), [EPOCHS], "constant")
    assert not is_improving([3.0, 2.0, 1.0], [3], "constant")


def test_a_later_cycle_is_compared_with_the_pace_since_the_start():
    first, falling = 2.0 - AT, 1.0 - AT
    flat = np.full(EPOCHS, 1.0)

    assert is_improving([*first, *falling], [EPOCHS, EPOCHS], "constant")
    assert not is_improving([*first, *flat], [EPOCHS, EPOCHS], "constant")


def test_each_cycle_is_as_long_as_all_before_it_up_to_a_multiple_of_the_first():
    cycles = [30]

    while epochs := next_cycle(cycles):
        cycles.append(epochs)

    assert cycles == [30, 30, 60]
    assert sum(cycles) == MOST_TIMES * 30
