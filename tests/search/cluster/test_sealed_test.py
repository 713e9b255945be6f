import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from fer_core.config import RecurrentConfig, from_json
from search.cluster import tuner
from search.cluster.sealed_test import score_winners, winners
from search.screen.progress import Progress


def test_the_best_complete_trial_of_each_family_wins_and_of_equals_the_first(make_result):
    cnn = from_json(make_result(0).config_json)
    gru = replace(cnn, recurrent=RecurrentConfig(cell="gru", hidden=8))
    parts = [
        make_result(0, uars=(0.5, 0.5)),
        make_result(1, uars=(0.7, 0.7)),
        make_result(2, uars=(0.7, 0.7)),
        make_result(3, uars=(0.9,), state="pruned"),
        make_result(4, uars=(0.3, 0.3), config=gru),
        make_result(5, state="failed", config=None),
    ]

    assert [result.number for result in winners(parts, tested=set())] == [1, 4]


def test_each_task_has_its_own_winner_of_a_family(make_result):
    emotion = replace(from_json(make_result(0).config_json), task="emotion")
    parts = [
        make_result(0, uars=(0.5, 0.5)),
        make_result(1, uars=(0.7, 0.7), config=emotion),
        make_result(2, uars=(0.6, 0.6), config=emotion),
    ]

    assert [result.number for result in winners(parts, tested=set())] == [0, 1]


def test_a_family_that_had_its_sealed_test_gets_no_second_however_good_the_next_trial(make_result):
    parts = [make_result(0, uars=(0.5, 0.5)), make_result(1, uars=(0.9, 0.9))]

    assert winners(parts, tested={0}) == []


@pytest.fixture
def one_gpu():
    """A node of which Ray is told that it has a GPU."""
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.ray
def test_a_winner_that_runs_out_of_memory_is_tested_once_more_on_a_whole_gpu(
    one_gpu, folder, record, make_result
):
    folder.write_record(record)
    cnn = from_json(make_result(0).config_json)
    gru = replace(cnn, recurrent=RecurrentConfig(cell="gru", hidden=8))
    shares = folder.path / "shares"

    def scoring(study_data, folder, number, config_json, threads, before):
        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        with shares.open("a") as file:
            file.write(f"{number}:{share} ")
        if number == 1 or share < 1:
            raise MemoryError
        return 0.5

    console = Console(file=io.StringIO(), width=200)
    score_winners(
        [make_result(0), make_result(1, config=gru)],
        SimpleNamespace(protocol=SimpleNamespace(sealed=("a",))),
        folder,
        tuner.divide_cluster(1, None),
        Progress(console=console),
        scoring=scoring,
    )

    assert sorted(shares.read_text().split()) == ["0:0.25", "0:1.0", "1:0.25", "1:1.0"]
    printed = console.file.getvalue()
    assert "scoring 2 trials, the best of each family and task, on 1 subject that" in printed
    assert "sealed test of trial 0: test_uar 0.500" in printed
    assert printed.count("sealed test of trial 1 failed: MemoryError") == 1
