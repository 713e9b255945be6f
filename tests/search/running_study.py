"""The real command as a process of its own, for tests that kill or interrupt it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

TRIALS = 40


@contextmanager
def drivers(studies):
    """Give a function that starts the command; what a failed test left running is killed."""
    started = []

    def start(*arguments, before=(), preexec_fn=ignore_nothing, **options):
        command = [*before, sys.executable, "-m", "search.run", "--address", "local", "-q"]
        command += ["--studies", str(studies), *arguments]
        options |= {"start_new_session": True, "preexec_fn": preexec_fn}
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def ignore_nothing():
    """Undo what the tests may have been started with: nohup, or the background of a shell."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def begin(start, where, trials=TRIALS, **options):
    new = ["--space", "spaces/smoke.py", "--smoke", "--trials", str(trials)]
    folders = ["--store", str(where / "store"), "--leaderboards", str(where / "boards")]
    return start(*new, *folders, **options)


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


def descendants(process):
    """List the ids of all processes that a process has started, and that these have started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(stat[1])
    found = [process.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def signal_all(driver, name):
    """Signal a driver and all its processes at once, Ray's first, as Slurm and systemd do."""
    for pid in (*descendants(driver), driver.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.Signals[name])
