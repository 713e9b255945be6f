"""The real command, killed and interrupted. Slow, since each start of it starts Ray too."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from search.study.folder import Folder
from search.study.journal import Journal
from search.study.journal_backends import file_storage

pytestmark = [pytest.mark.slow, pytest.mark.ray]

TRIALS = 40


@pytest.fixture
def start(tmp_path):
    """Start the command, and kill at the end whatever a failed test left running."""
    started = []

    def driver(*arguments):
        command = [sys.executable, "-m", "search.run", "--address", "local", "-q"]
        command += ["--studies", str(tmp_path / "studies"), *arguments]
        started.append(subprocess.Popen(command, start_new_session=True))
        return started[-1]

    yield driver
    for each in started:
        if each.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def begin(start, where, trials=TRIALS):
    new = ["--space", "spaces/smoke.py", "--smoke", "--trials", str(trials)]
    folders = ["--store", str(where / "store"), "--leaderboards", str(where / "boards")]
    return start(*new, *folders)


def go_on(start, where):
    return start("--resume", study(where))


def study(where):
    return next((where / "studies").glob("*/study.json")).parent.name


def count_parts(where):
    return len(list((where / "studies").glob("*/parts/[0-9]*.json")))


def board_trials(where):
    board = pd.read_parquet(where / "boards" / "synthetic")
    return board[board["source"] == "search"]["trial"]


def wait_for_parts(driver, where, count, seconds=600):
    until = time.monotonic() + seconds
    while count_parts(where) < count:
        assert driver.poll() is None, "the study ended before enough trials had finished"
        assert time.monotonic() < until, "no trial finished in time"
        time.sleep(0.1)


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
    finished = Journal(folder, file_storage(folder), seed=0).finished_numbers()
    board = pd.read_parquet(tmp_path / "boards" / "synthetic")
    assert len(board_trials(tmp_path)) == trials
    assert sorted(board_trials(tmp_path)) == finished
    assert sorted(board["trial"])[:3] == [-9, -8, -7]  # the baselines of task hidden, each once
    assert len(board) == trials + 3


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_study_ends_with_130_and_goes_on(start, tmp_path, name):
    driver = begin(start, tmp_path)
    wait_for_parts(driver, tmp_path, 3)

    if name == "SIGINT":
        os.killpg(driver.pid, signal.SIGINT)  # as Ctrl-C does: to Ray's processes too
    else:
        os.kill(driver.pid, signal.SIGTERM)  # Ray's would end, and the driver with them, with 1

    assert driver.wait(timeout=60) == 130
    assert 3 <= len(board_trials(tmp_path)) < TRIALS
    assert go_on(start, tmp_path).wait() == 0
    assert len(board_trials(tmp_path)) == TRIALS
