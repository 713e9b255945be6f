import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from search.study import driver_claim
from search.study.driver_claim import claimed

SILENT = 2.0  # seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(driver_claim, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(driver_claim, "SILENT_SECONDS", SILENT)


@pytest.fixture
def file(bucket):
    return bucket / "driver.json"


@pytest.fixture
def begin_driver(file):
    """Start a process that holds the claim for a minute."""
    text = f"""
import time
from fer_core.storage import paths
from search.study import driver_claim
driver_claim.BEAT_SECONDS, driver_claim.SILENT_SECONDS = 0.2, {SILENT}
with driver_claim.claimed(paths.parse({str(file)!r}), "s"):
    print("claimed", flush=True)
    time.sleep(60)
"""
    started = []

    def begin():
        driver = subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(driver)
        assert driver.stdout.readline() == "claimed\n"
        return driver

    yield begin
    for driver in started:
        driver.kill()
        driver.communicate()


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_claim(file, *, term=1, driver="x", beat=7, process=1, processes=""):
    claim = {"term": term, "driver": driver, "beat": beat, "process": process}
    claim |= {"host": socket.gethostname(), "processes": processes}
    write_atomically(file, json.dumps(claim).encode())


def driver_of(file):
    return json.loads(file.read_bytes())["driver"]


def eventually(holds):
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_claim_ends_with_the_work(file):
    with claimed(file, "s"):
        assert not json.loads(file.read_bytes())["ended"]

    assert json.loads(file.read_bytes())["ended"]


def test_a_driver_that_follows_one_that_ended_begins_at_once_and_a_later_term(file, monkeypatch):
    monkeypatch.setattr(driver_claim, "SILENT_SECONDS", 60.0)
    began, terms = time.monotonic(), []

    for _ in range(3):
        with claimed(file, "s"):
            terms.append(json.loads(file.read_bytes())["term"])

    assert terms == [1, 2, 3]
    assert time.monotonic() - began < 50


def test_a_driver_that_slept_while_another_came_and_ended_ends(file, begin_driver):
    """The term tells which driver came last, whatever the drivers are called."""
    driver = begin_driver()
    driver.send_signal(signal.SIGSTOP)
    with claimed(file, "s"):
        pass
    driver.send_signal(signal.SIGCONT)

    assert driver.wait(30) == -signal.SIGKILL


def test_a_study_whose_driver_lives_is_refused(file):
    with (
        claimed(file, "s"),
        pytest.raises(FerError, match=f"study s is being run .* process {os.getpid()} on"),
        claimed(file, "s"),
    ):
        pass


def test_a_driver_that_fell_silent_on_another_machine_is_followed(file):
    write_claim(file)
    began = time.monotonic()

    with claimed(file, "s"):
        assert time.monotonic() - began >= SILENT


def test_a_driver_that_died_on_this_machine_is_followed_at_once(file, dead, monkeypatch):
    monkeypatch.setattr(driver_claim, "SILENT_SECONDS", 60.0)
    write_claim(file, process=dead, processes=driver_claim._processes())

    began = time.monotonic()
    with claimed(file, "s"):
        assert time.monotonic() - began < 30


def test_a_driver_of_another_container_is_not_taken_to_be_dead(file, dead):
    write_claim(file, process=dead, processes="another boot pid:[1]")
    began = time.monotonic()

    with claimed(file, "s"):
        assert time.monotonic() - began >= SILENT


def test_a_damaged_claim_counts_as_none(file):
    write_atomically(file, b"{")

    with claimed(file, "s"):
        assert json.loads(file.read_bytes())["process"] == os.getpid()


def test_a_driver_that_was_cut_off_ends_when_another_goes_on(file, begin_driver):
    driver = begin_driver()

    def end():
        write_claim(file, term=2, beat=1)  # it may write its own beat over the first
        return driver.poll() is not None

    eventually(end)
    assert driver.returncode < 0
    assert "error: another process goes on with study s." in driver.stderr.read()


def test_the_last_beat_of_a_driver_that_was_cut_off_does_not_end_its_follower(file, begin_driver):
    write_claim(file, term=1, beat=7)
    follower = begin_driver()
    own = driver_of(file)

    write_claim(file, term=1, beat=8)

    eventually(lambda: driver_of(file) == own)
    assert follower.poll() is None


def test_of_two_drivers_that_begin_at_once_one_is_refused(file, monkeypatch):
    monkeypatch.setattr(driver_claim, "_SETTLE_SECONDS", 3.0)

    def begin_too():
        eventually(file.exists)
        write_claim(file, beat=0)

    other = threading.Thread(target=begin_too)
    other.start()
    with (
        pytest.raises(FerError, match="study s is being run by another process, which began just"),
        claimed(file, "s"),
    ):
        pass
    other.join()


def test_a_driver_whose_request_takes_long_takes_no_study_from_one_that_works(
    file, begin_driver, monkeypatch
):
    started = []

    def slowly(path, content):
        monkeypatch.setattr(driver_claim, "write_atomically", write_atomically)
        started.append(begin_driver())
        write_atomically(path, content)

    monkeypatch.setattr(driver_claim, "write_atomically", slowly)

    with pytest.raises(FerError, match="study s is being run by another"), claimed(file, "s"):
        pass
    assert started[0].poll() is None
    assert file.exists()


def test_the_end_of_a_claim_leaves_that_of_another(file, monkeypatch):
    monkeypatch.setattr(driver_claim, "BEAT_SECONDS", 60.0)

    with claimed(file, "s"):
        write_claim(file, term=2, driver="other")

    assert driver_of(file) == "other"


def test_a_beat_that_is_under_way_at_the_end_is_not_the_last_word(file, monkeypatch):
    beats = threading.Event()

    def slowly(path, content):
        if json.loads(content)["beat"] > 1:
            beats.set()
            time.sleep(0.6)
        write_atomically(path, content)

    monkeypatch.setattr(driver_claim, "write_atomically", slowly)
    with claimed(file, "s"):
        assert beats.wait(30)

    for _ in range(2):
        assert json.loads(file.read_bytes())["ended"]
        time.sleep(1.0)
