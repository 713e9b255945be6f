"""The real command, killed. Slow, since each start of it starts Ray too."""

import os
import random
import signal
import time

import pandas as pd
import pytest

from search.drawing.draws import Draws
from search.study.folder import Folder
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from tests.search.running_study import (
    begin,
    board_trials,
    count_parts,
    go_on,
    study,
    wait_for_parts,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.parametrize(
    ("kills", "trials"), [(3, 200), pytest.param(10, 400, marks=pytest.mark.long)]
)
def test_a_study_killed_many_times_loses_nothing_and_counts_nothing_twice(
    kills, trials, start, tmp_path
):
    moments = random.Random(0)
    driver = begin(start, tmp_path, trials)
    for _ in range(kills):
        wait_for_parts(driver, tmp_path, count_parts(tmp_path) + 1)
        time.sleep(moments.uniform(0, 1))
        assert driver.poll() is None, "the study ended before it could be killed"
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        driver = go_on(start, tmp_path)

    assert driver.wait() == 0

    folder = Folder(tmp_path / "studies" / study(tmp_path))
    finished = Journal(folder, file_storage(folder), Draws(seed=0)).finished_numbers()
    board = pd.read_parquet(tmp_path / "boards" / "synthetic")
    assert len(board_trials(tmp_path)) == trials
    assert sorted(board_trials(tmp_path)) == finished
    assert sorted(board["trial"])[:3] == [-9, -8, -7]  # the baselines of task hidden, each once
    assert len(board) == trials + 3
