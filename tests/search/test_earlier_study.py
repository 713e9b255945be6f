"""What an earlier version left on a user's disk works with today's: a study, its board, its store.

The files of `tests/fixtures/earlier` were made by commit 6e1e8ea; see the README there.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import search
from fer_core.features.speed import machine
from fer_core.scoring import SCORING_VERSION
from fer_core.storage.store import Store

ROOT = Path(__file__).parents[2]
EARLIER = ROOT / "tests" / "fixtures" / "earlier"
STUDY = "earlier-folder-ae320f"
UARS = {0: 0.70, 1: 0.80, 2: 0.65, 3: 0.45}  # what the earlier version measured; 4 was pruned
TODAY = {0: 0.625, 1: 0.75, 2: 0.625, 3: 0.4375}  # the same predictions, all folds scored together


@pytest.fixture
def disk(tmp_path):
    """A user's folder, as the earlier version left it, on a machine as fast as that version's.

    The key of a feature names the precision in which it is computed, and that depends on the
    processor. So the measured speed of the earlier machine becomes that of this one.
    """
    root = tmp_path / "disk"
    shutil.copytree(EARLIER, root)
    record = root / "studies" / STUDY / "study.json"
    record.write_text(record.read_text().replace("ROOT", str(root)))
    store = Store(root / "store")
    (earlier,) = (root / "store" / "machine").glob("*.json")
    machine(store, torch.device("cpu"))
    for measured in set((root / "store" / "machine").glob("*.json")) - {earlier}:
        store.put("machine", measured.stem, np.zeros(0), json.loads(earlier.read_text())["meta"])
    return root


def command(folder, module, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".npy", ".json", ".npz", ".parquet")
    }


def uars(board):
    trials = board[(board["source"] == "search") & (board["state"] == "complete")]
    trials = trials.set_index("trial")
    return {int(number): round(float(uar), 6) for number, uar in trials["val_uar"].items()}


def test_the_fixture_is_small_and_names_no_machine():
    files = [path for path in EARLIER.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 300_000
    assert not [path for path in files if b"/tmp/" in path.read_bytes()]


def test_the_board_of_an_earlier_study_is_read(disk):
    board = search.read_leaderboard("folder", disk / "leaderboards")

    assert uars(board) == UARS
    assert board["source"].value_counts().to_dict() == {"search": 5, "baseline": 3}
    assert board.loc[board["trial"] == 1, "test_uar"].tolist() == [0.5]


def test_a_row_of_an_earlier_study_replays_from_the_earlier_store(disk):
    kept = contents(disk / "store")

    text = command(disk, "search.replay", f"{STUDY}/1").stdout

    assert "val_uar 0.800000 then, 0.800000 now: the same" in text
    now = contents(disk / "store")
    assert kept.items() <= now.items()  # nothing was made anew, and nothing was changed
    made = {name.partition("/")[0] for name in now.keys() - kept.keys()}
    assert made <= {"faces", "views", "features", "width"}, "a key of the stages has changed"
    assert sum(name.startswith("faces/") for name in now) == 2 * 7


@pytest.mark.ray
def test_an_earlier_study_is_resumed_and_grows(disk):
    tests = disk / "studies" / STUDY / "opened"
    sealed = {file.name: json.loads(file.read_text()) for file in tests.iterdir()}

    study = str(disk / "studies" / STUDY)
    done = command(
        disk.parent, "search.run", "--resume", study, "--trials", "6", "--address", "local"
    )

    board = pd.read_parquet(disk / "leaderboards" / "folder")
    assert {number: uar for number, uar in uars(board).items() if number < 5} == TODAY
    assert sorted(board.loc[board["source"] == "search", "trial"]) == [0, 1, 2, 3, 4, 5]
    for name, earlier in sealed.items():
        now = json.loads((tests / name).read_text())
        assert now["test_uar"] == pytest.approx(earlier["test_uar"])
        assert now["test_uar_low"] is None  # two subjects are too few for an interval
    complete = board[board["state"] == "complete"]
    assert set(complete["scoring_version"]) == {SCORING_VERSION}
    record = json.loads((disk / "studies" / STUDY / "study.json").read_text())
    assert record["trials"] == 6
    assert f"--resume {STUDY} --studies {disk / 'studies'} --address local" in done.stderr
