"""The real command, interrupted. Slow, since each start of it starts Ray too."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.search.running_study import (
    TRIALS,
    begin,
    board_trials,
    descendants,
    go_on,
    signal_all,
    study,
    wait_for_parts,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


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


@pytest.mark.parametrize(
    "names",
    [["SIGTERM"], ["SIGTERM", "SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"], ["SIGHUP"]],
    ids="-".join,
)
def test_signals_to_all_processes_at_once_end_with_130_and_the_command_that_goes_on(
    start, tmp_path, names
):
    driver = begin(start, tmp_path, trials=6, stderr=subprocess.PIPE, text=True)
    wait_for_parts(driver, tmp_path, 1)
    children = descendants(driver)

    for name in names:
        signal_all(driver, name)
        time.sleep(0.2)

    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert f"python -m search.run --resume {study(tmp_path)}" in said
    assert children
    assert not still_there(children)
    assert go_on(start, tmp_path).wait() == 0
    assert len(board_trials(tmp_path)) == 6


def test_a_signal_while_ray_starts_ends_with_130_and_leaves_no_process(start, tmp_path):
    driver = begin(start, tmp_path, trials=2, stderr=subprocess.PIPE, text=True)
    while not (children := ray_processes(driver)):
        assert driver.poll() is None
        time.sleep(0.05)

    signal_all(driver, "SIGTERM")

    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert f"python -m search.run --resume {study(tmp_path)}" in said
    assert not still_there(children)


def test_under_nohup_a_study_goes_on_when_its_terminal_closes(start, tmp_path):
    """The kernel sends SIGHUP to the session of a terminal that is gone."""
    terminal, its_end = os.openpty()

    def take_terminal():
        fcntl.ioctl(its_end, termios.TIOCSCTTY, 0)

    with (tmp_path / "nohup.out").open("w") as output:
        driver = begin(
            start,
            tmp_path,
            trials=3,
            before=["nohup"],
            stdin=its_end,
            stdout=output,
            stderr=output,
            preexec_fn=take_terminal,
        )
    os.close(its_end)
    wait_for_parts(driver, tmp_path, 1)

    os.close(terminal)

    assert driver.wait(600) == 0
    assert len(board_trials(tmp_path)) == 3


def ray_processes(driver):
    found = []
    for pid in descendants(driver):
        with suppress(OSError):
            if b"ray/session_" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def still_there(processes, seconds=20):
    """List which processes have not ended after a while."""
    until = time.monotonic() + seconds
    while True:
        there = [pid for pid in processes if is_running(pid)]
        if not there or time.monotonic() > until:
            return there
        time.sleep(0.1)


def is_running(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
