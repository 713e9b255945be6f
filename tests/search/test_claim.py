import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from fer_core.errors import FerError
from fer_core.store import write_atomically
from search.study import claim
from search.study.claim import claimed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(claim, "SILENT_SECONDS", 2.0)


@pytest.fixture
def file(bucket):
    return bucket / "driver.json"


def test_a_claim_ends_with_the_work(file):
    with claimed(file, "s"):
        assert file.is_file()

    assert not file.exists()


def test_a_study_whose_driver_lives_is_refused(file):
    with (
        claimed(file, "s"),
        pytest.raises(FerError, match=f"study s is being run .* process {os.getpid()} on"),
        claimed(file, "s"),
    ):
        pass


def test_a_driver_that_fell_silent_elsewhere_is_followed(file):
    write_atomically(file, json.dumps({"driver": "x", "beat": 7, "host": "gone"}).encode())
    began = time.monotonic()

    with claimed(file, "s"):
        assert time.monotonic() - began >= 2.0


def test_a_driver_of_this_machine_that_died_is_followed_at_once(file, monkeypatch):
    monkeypatch.setattr(claim, "SILENT_SECONDS", 60.0)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    said = {"driver": "x", "beat": 7, "host": socket.gethostname(), "process": dead.pid}
    write_atomically(file, json.dumps(said).encode())

    began = time.monotonic()
    with claimed(file, "s"):
        assert time.monotonic() - began < 30


def test_a_damaged_claim_is_none(file):
    write_atomically(file, b"{")

    with claimed(file, "s"):
        assert json.loads(file.read_bytes())["process"] == os.getpid()


def test_a_driver_that_was_cut_off_ends_when_another_goes_on(file, tmp_path):
    text = f"""
import time
from fer_core import places
from search.study import claim
claim.BEAT_SECONDS = 0.2
with claim.claimed(places.at({str(file)!r}), "s"):
    print("held", flush=True)
    time.sleep(60)
"""
    driver = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert driver.stdout.readline() == "held\n"

    def take_over():
        for _ in range(50):  # it may write its own beat over the first
            write_atomically(file, json.dumps({"driver": "other", "beat": 0}).encode())
            time.sleep(0.05)

    thread = threading.Thread(target=take_over)
    thread.start()
    _, said = driver.communicate(timeout=30)
    thread.join()

    assert driver.returncode < 0
    assert "error: another process goes on with study s." in said


def test_of_two_drivers_that_begin_at_once_one_is_refused(file, monkeypatch):
    monkeypatch.setattr(claim, "_SETTLE_SECONDS", 1.0)
    threading.Timer(0.5, write_atomically, (file, b'{"driver": "other", "beat": 0}')).start()

    with (
        pytest.raises(FerError, match="study s is being run by another process, which began just"),
        claimed(file, "s"),
    ):
        pass
