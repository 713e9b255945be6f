"""The real command on one machine: a study, the same study again, and a resumed one."""

import json
import os

import pytest

import search
from fer_core.trial.baselines import BASELINES
from search.results import ranking
from search.study.folder import Folder
from tests.search.command import ROOT, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def studied(tmp_path_factory, rendered):
    """Run a study of two trials: its folder, the arguments of its command, and the output."""
    where = tmp_path_factory.mktemp("studied")
    command = ["--space", str(ROOT / "spaces" / "smoke.py"), "--smoke", "--data-root", rendered]
    command += ["--trials", "2", "--cpus-per-trial", str(len(os.sched_getaffinity(0)))]
    return where, command, run(where, *command)


def test_the_same_command_again_decodes_nothing_and_draws_and_scores_the_same(studied):
    where, command, before = studied

    after = run(where, *command)

    studies = [
        Folder(where / "studies" / json.loads(done.stdout)["study"]) for done in (before, after)
    ]
    for first, again in zip(
        *([folder.result(n) for n in range(2)] for folder in studies), strict=True
    ):
        assert again.config_json == first.config_json
        assert again.fold_uars == first.fold_uars
        assert again.work["frames_decoded"] == again.work["backbone_images"] == 0
        assert again.work["stages_made"] == 0


def test_one_command_gives_a_leaderboard_and_resuming_extends_the_study(studied):
    where, _, first = studied

    extended_run = run(where, "--resume", json.loads(first.stdout)["study"], "--trials", "3")

    extended = json.loads(extended_run.stdout)
    board = search.read_leaderboard("synthetic", where / "leaderboards")
    board = board[board["study"] == extended["study"]]
    assert extended["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert sorted(ranking.searched(board)["trial"]) == [0, 1, 2]
    assert ranking.searched(board)["test_uar"].notna().any()
    assert "[1/2; best" in first.stderr
    baselines = board[board["source"] == "baseline"].set_index("family")
    assert set(baselines.index) == set(BASELINES)
    assert baselines.loc["majority", "val_uar"] == pytest.approx(1 / 12)
    assert baselines.loc["features+logistic", "test_uar"] > 2 / 12
    assert first.stderr.count("baseline ") == 3
    assert "baseline " not in extended_run.stderr  # done once, ever
