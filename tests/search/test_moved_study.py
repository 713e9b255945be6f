"""The real command: a project that was renamed, a dataset that was moved, and then both."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tests.search.command import ROOT, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]
HELPER = "EPOCHS = 2\nLRS = (1e-3, 3e-3)\n"
SPACE = """
from rates import EPOCHS, LRS

from fer_core.config import ClipConfig, Config, GeometryConfig, OptimizerConfig


def space(trial):
    low, high = LRS
    optimizer = OptimizerConfig(lr=trial.suggest_float("lr", low, high, log=True), epochs=EPOCHS)
    stream = GeometryConfig(hidden=8)
    return Config(streams=(stream,), clip=ClipConfig(frames=3), optimizer=optimizer)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, rendered):
    """A project whose study has two trials; its space imports a helper that lies beside it."""
    root = tmp_path_factory.mktemp("moved") / "project"
    (root / "spaces").mkdir(parents=True)
    (root / "spaces" / "_mine.py").write_text(SPACE)
    (root / "spaces" / "rates.py").write_text(HELPER)
    shutil.copytree(rendered, root / "data" / "faces")
    arguments = ["--space", "spaces/_mine.py", "--data-root", "data/faces", "--smoke"]
    study = json.loads(run(root, *arguments, "--trials", "2").stdout)["study"]
    return root, study


def trials(root):
    """Read the board as the documentation says, without any option."""
    board = pd.read_parquet(root / "leaderboards" / "synthetic")
    assert (board["source"] == "baseline").sum() == 3
    return sorted(board.loc[board["source"] == "search", "trial"])


def test_a_study_goes_on_in_a_renamed_project_with_its_moved_dataset(project):
    before, study = project
    assert trials(before) == [0, 1]

    root = before.rename(before.with_name("renamed"))
    (root / "spaces" / "rates.py").write_text("LRS = 'edited'")
    done = run(root, "--resume", study, "--trials", "3")

    assert not before.exists()
    assert trials(root) == [0, 1, 2]
    assert f"its leaderboards: {root / 'leaderboards'}" in done.stderr

    moved = root.parent / "elsewhere" / "people"
    moved.parent.mkdir()
    shutil.move(root / "data" / "faces", moved)
    (root / "spaces" / "rates.py").unlink()
    command = [sys.executable, "-m", "search.run", "--resume", str(root / "studies" / study)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "does not exist any more; say where it is now with --data-root" in line

    found = ["--data-root", str(moved), "--store", str(root.parent / "store")]
    shutil.move(root / "store", root.parent / "store")
    run(ROOT, "--resume", str(root / "studies" / study), "--trials", "4", *found)
    run(root, "--resume", study, "--trials", "5")  # the new places were recorded

    assert trials(root) == [0, 1, 2, 3, 4]
    assert not (root / "data" / "faces").exists()
    assert not (root / "store").exists()
