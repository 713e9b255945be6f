import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = """
import sys, time
from contextlib import contextmanager
import typer
from fer_core.storage.processes import results
from search import command

app = typer.Typer()

def work(seconds):
    time.sleep(seconds)

@app.command()
def main() -> None:
    with command.errors_in_one_line("Interrupted."):
        print("ready", flush=True)
        for place, _ in results(work, [0.1, 0.1, *[SECONDS] * 2], 2):
            print("done", place, flush=True)
        print("whole")

if __name__ == "__main__":
    sys.exit(command.run(app))
"""


def ignore_nothing():
    """Undo what the tests may have been started with, such as nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Start a command with two worker processes in a session of its own."""
    script = tmp_path / "command.py"
    started = []

    def run(*before, seconds=60):
        script.write_text(COMMAND.replace("SECONDS", str(seconds)))
        command = [*before, sys.executable, str(script)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipes["preexec_fn"] = ignore_nothing
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, **pipes))
        return started[-1]

    yield run
    for each in started:
        if each.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def anybody_of(group, seconds=20):
    """Say whether a process of a group is still there after a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_all_processes_is_the_parents_alone(start, name):
    process = start()
    while not process.stdout.readline().startswith("done"):
        pass

    os.killpg(process.pid, signal.Signals[name])

    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "Interrupted.\n")
    assert not anybody_of(process.pid)


def test_so_it_is_while_the_processes_start(start):
    process = start()
    process.stdout.readline()
    time.sleep(0.2)

    os.killpg(process.pid, signal.SIGTERM)

    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "Interrupted.\n")


def test_many_signals_say_it_once(start):
    process = start()
    while not process.stdout.readline().startswith("done"):
        pass

    for name in ("SIGINT", "SIGTERM", "SIGTERM", "SIGHUP"):
        if process.poll() is None:
            os.kill(process.pid, signal.Signals[name])
            time.sleep(0.01)

    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("Interrupted.") == 1


def test_what_nohup_ignores_stays_ignored(start):
    process = start("nohup", seconds=1)
    while not process.stdout.readline().startswith("done"):
        pass

    os.killpg(process.pid, signal.SIGHUP)

    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.endswith("whole\n")


def test_ctrl_c_stays_ignored_in_the_background_of_a_script(start):
    """A shell starts `command &` in a script so that Ctrl-C does not end it."""
    process = start("sh", "-c", 'trap "" INT; exec "$@"', "sh", seconds=1)
    while not process.stdout.readline().startswith("done"):
        pass

    os.killpg(process.pid, signal.SIGINT)

    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.endswith("whole\n")
