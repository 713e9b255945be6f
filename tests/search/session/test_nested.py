"""The real command with --nested, on one machine."""

import json
import subprocess

import numpy as np
import pytest

import search
from search.results import nested_score, predictions, ranking
from search.study.folder import Folder
from tests.search.command import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SPACE = """
from fer_core.config import ClipConfig, Config, GeometryConfig, OptimizerConfig


def space(trial):
    return Config(
        streams=(GeometryConfig(encoding="centred", hidden=0),),
        clip=ClipConfig(frames=2),
        optimizer=OptimizerConfig(lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True), epochs=3),
    )
"""


@pytest.fixture(scope="module")
def studied(tmp_path_factory, rendered):
    """Run a nested study of two trials: its folder, and the folder of the study."""
    where = tmp_path_factory.mktemp("nested")
    (where / "points.py").write_text(SPACE)
    command = ["--space", "points.py", "--smoke", "--data-root", rendered, "--task", "emotion"]
    done = run(where, *command, "--trials", "2", "--nested")
    return where, Folder(where / "studies" / json.loads(done.stdout)["study"])


def row_of(where):
    board = search.read_leaderboard("synthetic", where / "leaderboards")
    (row,) = board[board["source"] == "nested"].to_dict("records")
    return row, board


def test_every_subject_is_scored_once_by_a_search_that_never_saw_it(studied):
    where, folder = studied

    row, board = row_of(where)

    assert (row["test_subjects"], row["folds"]) == (10, 5)
    assert row["test_uar_low"] < row["test_uar"] < row["test_uar_high"]
    assert ranking.searched(board)["test_uar"].isna().all()  # no trial saw a sealed subject
    seen = []
    for place in range(1, 6):
        outer = folder.outer(place)
        sealed = set(outer.record().protocol["sealed"])
        (tested,) = (outer.path / "opened").glob("*.json")
        for number in range(2):
            found = predictions.read(outer, number)
            assert found is None or not sealed & set(found.subjects)
        assert set(predictions.read(outer, int(tested.stem), sealed=True).subjects) == sealed
        seen += sealed
    assert sorted(seen) == sorted(np.unique(seen))
    assert len(seen) == 10


def test_a_fold_that_was_not_tested_is_tested_by_a_resume_and_the_score_is_the_same(studied):
    where, folder = studied
    before, _ = row_of(where)
    outer = folder.outer(3)
    (tested,) = (outer.path / "opened").glob("*.json")
    tested.unlink()
    (folder.path / "outer" / "scores.json").unlink()

    done = run(where, "--resume", folder.name)

    after, _ = row_of(where)
    assert after["test_uar"] == before["test_uar"]
    assert tested.exists()
    assert "outer fold 3 of 5" in done.stderr
    assert "outer fold 2 of 5" not in done.stderr


def test_a_study_that_was_renamed_opens_no_fold_again(studied):
    where, folder = studied
    renamed = Folder(folder.path.rename(folder.path.with_name("renamed")))
    before = nested_score.read(renamed)

    done = run(where, "--resume", "renamed")
    renamed.path.rename(folder.path)

    assert "outer fold" not in done.stderr
    assert nested_score.read(folder) == before


def test_what_a_nested_study_cannot_do_is_refused(studied):
    where, folder = studied

    def refusal(*arguments):
        with pytest.raises(subprocess.CalledProcessError) as failed:
            run(where, *arguments)
        return failed.value.stderr

    inner = str(folder.outer(1).path)
    assert f"continue the whole study with --resume {folder.name}" in refusal("--resume", inner)
    assert "cannot grow to 3 trials" in refusal("--resume", folder.name, "--trials", "3")
