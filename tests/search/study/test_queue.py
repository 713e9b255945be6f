import pytest

from fer_core.config import Config, GeometryConfig, OptimizerConfig
from search.study.queue import Queue, QueuedTrial


def drawn(number, hidden=8, lr=1e-3):
    encoding = "procrustes" if hidden == 8 else "centred"  # another stage
    geometry = GeometryConfig(encoding=encoding, hidden=hidden)
    config = Config(streams=(geometry,), optimizer=OptimizerConfig(lr=lr))
    return QueuedTrial(number, config)


@pytest.fixture
def queue():
    """Trials 0 to 5, of one shape and of another in turn."""
    made = Queue(lambda config: 4)
    for number in range(6):
        made.add(drawn(number, hidden=(8, 16)[number % 2], lr=1e-3 * (number + 1)))
    return made


def numbers(pack):
    return [trial.number for trial in pack]


def test_a_pack_has_the_shape_of_what_was_drawn_first(queue):
    assert numbers(queue.take((), 4)) == [0, 2, 4]
    assert numbers(queue.take((), 2)) == [1, 3]
    assert numbers(queue.take((), 2)) == [5]
    assert queue.take((), 2) == []


def test_a_worker_sooner_gets_the_pack_whose_stage_it_holds(queue):
    cached = [drawn(0, hidden=16).stage_key]

    assert numbers(queue.take(cached, 4)) == [1, 3, 5]


def test_what_was_drawn_first_is_not_passed_over_for_ever(queue):
    cached = [drawn(0, hidden=16).stage_key]
    taken = []
    for number in range(6, 20):
        queue.add(drawn(number, hidden=16))
        taken += numbers(queue.take(cached, 1))

    assert 0 in taken[:6]


def test_as_many_are_drawn_as_the_pack_whose_turn_it_is_wants():
    queue = Queue(lambda config: 4)
    count = 0
    while queue.wants_more(99):
        queue.add(drawn(count))
        count += 1

    assert count == 4


def test_where_draws_do_not_fit_together_twice_as_many_are_drawn():
    queue = Queue(lambda config: 4)
    count = 0
    while queue.wants_more(99):
        queue.add(drawn(count, hidden=8 + count))
        count += 1

    assert count == 8
    assert len(queue.take((), 99)) == 1


def test_no_more_are_drawn_than_the_limit_allows():
    queue = Queue(lambda config: 4)
    count = 0
    while queue.wants_more(3):
        queue.add(drawn(count))
        count += 1

    assert count == 3
