from dataclasses import replace

from fer_core.config import RecurrentConfig, from_json
from search.cluster.opening import winners


def test_the_best_complete_trial_of_each_family_wins_and_of_equals_the_first(make_part):
    cnn = from_json(make_part(0).config_json)
    gru = replace(cnn, recurrent=RecurrentConfig(cell="gru", hidden=8))
    parts = [
        make_part(0, uars=(0.5, 0.5)),
        make_part(1, uars=(0.7, 0.7)),
        make_part(2, uars=(0.7, 0.7)),
        make_part(3, uars=(0.9,), state="pruned"),
        make_part(4, uars=(0.3, 0.3), config=gru),
        make_part(5, state="failed", config=None),
    ]

    assert [part.number for part in winners(parts, opened=set())] == [1, 4]


def test_each_task_has_its_own_winner_of_a_family(make_part):
    emotion = replace(from_json(make_part(0).config_json), task="emotion")
    parts = [
        make_part(0, uars=(0.5, 0.5)),
        make_part(1, uars=(0.7, 0.7), config=emotion),
        make_part(2, uars=(0.6, 0.6), config=emotion),
    ]

    assert [part.number for part in winners(parts, opened=set())] == [0, 1]


def test_a_family_of_which_a_trial_was_opened_stays_sealed_however_good_the_next(make_part):
    parts = [make_part(0, uars=(0.5, 0.5)), make_part(1, uars=(0.9, 0.9))]

    assert winners(parts, opened={0}) == []
