import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import ray
from rich.console import Console

from fer_core.config import RecurrentConfig, from_json
from fer_core.scoring import score
from fer_core.trial.results import SealedResult
from search.cluster import tuner
from search.cluster.sealed_test import score_winners, winners, write_sealed_scores
from search.results import predictions
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


def test_a_headline_that_was_not_tested_wins_its_family_however_good_the_next_trial(make_result):
    parts = [make_result(0, uars=(0.5, 0.5)), make_result(1, uars=(0.9, 0.9))]

    chosen = winners(parts, tested=set(), headlines={0})

    assert [result.number for result in chosen] == [0]


def sealed_result(right):
    labels = np.array([0, 0, 1, 1])
    return SealedResult(
        metrics=score(labels, np.eye(2)[np.where(right, labels, 1 - labels)]),
        clips=("a", "b", "c", "d"),
        subjects=np.array(["p", "p", "q", "r"]),
        labels=labels,
        probabilities=np.eye(2)[np.where(right, labels, 1 - labels)],
    )


def test_a_test_with_several_seeds_keeps_the_first_score_and_the_predictions_of_all(folder):
    first, second = sealed_result([1, 1, 1, 0]), sealed_result([1, 0, 0, 0])

    write_sealed_scores(folder, 3, first, repeats=[second], headline=3)

    scores = json.loads(folder.sealed_test(3).read_text())
    assert (scores["test_uar"], scores["test_uar_mean"]) == (0.75, 0.5)
    assert scores["test_uar_std"] == pytest.approx(0.125 * 2**0.5 * 2)
    assert (scores["test_repeats"], scores["headline"]) == (2, 3)
    stored = [predictions.read(folder, 3, sealed=True, repeat=repeat) for repeat in (0, 1)]
    assert [each.right.sum() for each in stored] == [3, 1]


def test_the_scores_of_a_baseline_name_no_headline(folder):
    write_sealed_scores(folder, -1, sealed_result([1, 1, 1, 0]))

    assert not json.loads(folder.sealed_test(-1).read_text()).keys() & {"headline", "test_repeats"}


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

    def scoring(study_data, folder, number, config_json, threads, opening):
        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        with shares.open("a") as file:
            file.write(f"{number}:{share} ")
        if number == 1 or share < 1:
            raise MemoryError
        return 0.5

    console = Console(file=io.StringIO(), width=200)
    score_winners(
        [make_result(0), make_result(1, config=gru)],
        SimpleNamespace(protocol=SimpleNamespace(sealed=("a",)), task="hidden"),
        folder,
        tuner.divide_cluster(1, None),
        Progress(console=console),
        scoring=scoring,
    )

    assert sorted(shares.read_text().split()) == ["0:0.25", "0:1.0", "1:0.25", "1:1.0"]
    printed = console.file.getvalue()
    assert "scoring 2 trials, the best of each family and task, on 1 subject that" in printed
    assert "the headline of task hidden is trial 0, whose val_uar is the highest" in printed
    assert "sealed test of trial 0: test_uar 0.500" in printed
    assert printed.count("sealed test of trial 1 failed: MemoryError") == 1
