"""The real command on one local CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import search
from search.study.folder import Folder

ROOT = Path(__file__).parents[2]


def run(where, *arguments):
    command = [sys.executable, "-m", "search.run", *arguments, "--json", "--address", "local"]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=where, env=os.environ | path, capture_output=True, text=True, check=True
    )


@pytest.mark.ray
def test_one_command_gives_a_leaderboard_and_the_next_one_extends_the_study(tmp_path, rendered):
    space = str(ROOT / "spaces" / "smoke.py")

    first = run(tmp_path, "--space", space, "--smoke", "--data-root", rendered, "--trials", "2")
    study = json.loads(first.stdout)["study"]
    second = json.loads(run(tmp_path, "--resume", study, "--trials", "3").stdout)

    board = search.read_leaderboard("synthetic", tmp_path / "leaderboards")
    assert second["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert sorted(board["trial"]) == [0, 1, 2]
    assert board["test_uar"].notna().any()
    assert "[1/2, best" in first.stderr
    extended = Folder(tmp_path / "studies" / study).part(2)
    assert extended.work["frames_decoded"] == extended.work["backbone_images"] == 0
