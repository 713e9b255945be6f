import json
from dataclasses import replace

from fer_core.config import from_json
from fer_core.storage.files import write_atomically
from search.cluster.headlines import headlines_of, untested


def test_the_complete_trial_with_the_highest_val_uar_is_written_down_before_any_test(
    folder, make_result
):
    emotion = replace(from_json(make_result(0).config_json), task="emotion")
    trials = [
        make_result(0, uars=(0.5, 0.5)),
        make_result(1, uars=(0.7, 0.7)),
        make_result(2, uars=(0.7, 0.7)),
        make_result(3, uars=(0.9,), state="pruned"),
        make_result(4, uars=(0.3, 0.3), config=emotion),
    ]

    found = headlines_of(trials, folder, "hidden")

    assert found == folder.headlines() == {"hidden": 1, "emotion": 4}
    assert len(list(untested(found, folder))) == 2


def test_a_headline_stays_however_good_a_later_trial_is(folder, make_result):
    trials = [make_result(0, uars=(0.5, 0.5))]
    headlines_of(trials, folder, "hidden")

    found = headlines_of([*trials, make_result(1, uars=(0.9, 0.9))], folder, "hidden")

    assert found == {"hidden": 0}


def test_of_a_study_that_an_earlier_version_tested_the_best_tested_trial_is_the_headline(
    folder, make_result
):
    uars = [(0.5, 0.5), (0.6, 0.6), (0.9, 0.9)]
    trials = [make_result(number, uars=uar) for number, uar in enumerate(uars)]
    for number in (0, 1):
        write_atomically(folder.sealed_test(number), json.dumps({"test_uar": 0.5}).encode())

    found = headlines_of(trials, folder, "hidden")

    assert found == {"hidden": 1}
    assert list(untested(found, folder)) == []
