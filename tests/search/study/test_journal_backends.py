import queue
import secrets
import threading
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage

from fer_core.errors import FerError
from fer_core.storage.paths import S3Path
from search.study import journal_backends
from search.study.journal_backends import LogFile, LogObjects, open_log


@pytest.fixture(params=["folder", "s3"])
def path(request, tmp_path):
    place = tmp_path if request.param == "folder" else request.getfixturevalue("bucket")
    return place / "journal.log"


def numbers(path):
    return [entry["n"] for entry in open_log(path).read_logs(0)]


def test_a_journal_is_a_file_or_objects(tmp_path, bucket):
    assert isinstance(open_log(tmp_path / "journal.log"), LogFile)
    assert isinstance(open_log(bucket / "journal.log"), LogObjects)


def test_what_was_synced_is_read_by_the_next_driver(path):
    journal = open_log(path)
    for n in range(5):
        journal.append_logs([{"n": n}])
        journal.sync()

    assert numbers(path) == [0, 1, 2, 3, 4]


def test_a_driver_reads_each_log_once_and_its_own_too(path):
    journal = open_log(path)
    journal.append_logs([{"n": 0}, {"n": 1}])
    assert [entry["n"] for entry in journal.read_logs(0)] == [0, 1]
    journal.append_logs([{"n": 2}])
    assert [entry["n"] for entry in journal.read_logs(2)] == [2]


def test_a_driver_that_goes_on_appends_behind_what_is_there(path):
    for n in range(4):
        journal = open_log(path)
        journal.append_logs([{"n": 2 * n}, {"n": 2 * n + 1}])
        journal.sync()

    assert numbers(path) == list(range(8))


def test_in_s3_a_sync_with_nothing_new_puts_nothing(bucket):
    journal = open_log(bucket / "journal.log")
    journal.append_logs([{"n": 0}])
    for _ in range(3):
        journal.sync()

    assert len(with_lines(bucket / "journal.log")) == 1


def test_a_journal_of_another_version_is_refused_and_left_as_it_is(bucket):
    path = bucket / "journal.log"
    (path / "000000000.log").write_bytes(b'{"n": 0}\n')

    with pytest.raises(FerError, match=r"000000000\.log is of another version"):
        open_log(path)

    assert [each.name for each in path.glob("*")] == ["000000000.log"]


def test_a_driver_that_was_cut_off_is_refused_though_it_has_nothing_new(bucket):
    first = open_log(bucket / "journal.log")
    open_log(bucket / "journal.log")

    with pytest.raises(FerError, match="another process goes on"):
        first.sync()


def put(path, lines):
    """Write each line as an object of its own."""
    journal = open_log(path)
    for n in range(lines):
        journal.append_logs([{"n": n}])
        journal.sync()


def with_lines(path):
    return [each for each in path.glob("*-*.log") if each.read_bytes()]


def test_a_driver_that_opens_a_journal_of_many_objects_joins_them(bucket):
    put(path := bucket / "journal.log", 8)

    assert numbers(path) == list(range(8))
    assert len(with_lines(path)) == 1
    assert numbers(path) == list(range(8))


def test_many_objects_are_joined_while_their_driver_goes_on(bucket, monkeypatch):
    monkeypatch.setattr(journal_backends, "_MANY", 3)
    put(path := bucket / "journal.log", 8)

    assert len(with_lines(path)) == 4  # of 3, 3, 1 and 1 lines
    assert numbers(path) == list(range(8))


def test_a_kill_between_joining_and_deleting_repeats_no_line(bucket):
    put(path := bucket / "journal.log", 6)
    objects = with_lines(path)

    objects[2].write_bytes(b"".join(each.read_bytes() for each in objects[2:5]))
    objects[3].unlink()

    assert numbers(path) == [0, 1, 2, 3, 4, 5]


def test_a_journal_with_a_gap_is_refused(bucket):
    put(path := bucket / "journal.log", 3)
    with_lines(path)[1].unlink()

    with pytest.raises(FerError, match="has lost lines 1 to 2; it cannot go on"):
        open_log(path)


def test_a_driver_that_was_cut_off_is_refused_and_harms_nothing(bucket):
    path = bucket / "journal.log"
    cut_off = open_log(path)
    cut_off.append_logs([{"n": 0}])
    cut_off.sync()
    cut_off.append_logs([{"n": 99}])

    follower = open_log(path)
    follower.append_logs([{"n": 1}, {"n": 2}])
    with pytest.raises(FerError, match="another process goes on with study search"):
        cut_off.sync()
    follower.sync()

    assert numbers(path) == [0, 1, 2]


class Killed(BaseException):
    pass


class Turns:
    """Lets drivers, each in a thread, send their requests to S3 in a given order."""

    def __init__(self, monkeypatch):
        self.gates = {}
        patiently = S3Path._patiently

        def in_turn(place, action):
            if (
                threading.current_thread() in self.gates
            ):  # a driver's own helper threads belong to its turn
                self.wait()
            return patiently(place, action)

        monkeypatch.setattr(S3Path, "_patiently", in_turn)

    def run(self, drivers, order):
        threads = [threading.Thread(target=self.drive, args=(driver,)) for driver in drivers]
        self.gates = {thread: (queue.Queue(), queue.Queue()) for thread in threads}
        for thread in threads:
            thread.start()
            self.gates[thread][1].get()
        rest = [(index, False) for index in range(len(threads)) for _ in range(99)]
        for index, is_killed in [*order, *rest]:
            if threads[index].is_alive():
                go, rests = self.gates[threads[index]]
                go.put(is_killed)
                if rests.get():
                    threads[index].join()
        assert not any(thread.is_alive() for thread in threads)

    def drive(self, driver):
        with suppress(FerError, Killed):
            self.wait()
            driver()
        self.gates[threading.current_thread()][1].put(True)

    def wait(self):
        go, rests = self.gates[threading.current_thread()]
        rests.put(False)
        if go.get():
            raise Killed


def test_a_driver_that_is_killed_while_it_opens_a_journal_loses_no_line(bucket, monkeypatch):
    put(path := bucket / "journal.log", 3)

    for requests in range(8):
        with monkeypatch.context() as patch:
            Turns(patch).run([partial(open_log, path)], [(0, False)] * requests + [(0, True)])
        assert numbers(path) == [0, 1, 2]


DRIVERS = 3


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.integers(0, DRIVERS - 1), st.sampled_from([False] * 9 + [True])), max_size=40
    )
)
def test_however_drivers_cross_no_line_is_lost_that_was_synced(bucket, monkeypatch, order):
    path = bucket / secrets.token_hex(4) / "journal.log"
    found, synced = {}, {}

    def driver(name):
        journal = open_log(path)
        found[name] = [entry["n"] for entry in journal.read_logs(0)]
        synced[name] = []
        for k in range(3):
            lines = [f"{name}.{k}.{n}" for n in range(k + 1)]
            journal.append_logs([{"n": each} for each in lines])
            journal.sync()
            synced[name] += lines

    with monkeypatch.context() as patch:
        patch.setattr(journal_backends, "_MANY", 2)
        Turns(patch).run([partial(driver, name) for name in range(DRIVERS)], order)
    after = numbers(path)

    assert len(after) == len(set(after))
    for name, lines in synced.items():
        if lines:
            assert after[: len(found[name] + lines)] == found[name] + lines


def test_optuna_keeps_a_study_in_s3(bucket):
    import optuna

    backend = open_log(bucket / "journal.log")
    study = optuna.create_study(storage=JournalStorage(backend), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    backend.sync()

    again = JournalStorage(open_log(bucket / "journal.log"))
    loaded = optuna.load_study(storage=again, study_name="s")

    assert [trial.value for trial in loaded.trials] == [trial.value for trial in study.trials]
