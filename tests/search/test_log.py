import pytest
from optuna.storages import JournalStorage

from fer_core.errors import FerError
from search.study import log
from search.study.log import LogFile, LogObjects, opened


@pytest.fixture(params=["folder", "s3"])
def path(request, tmp_path):
    place = tmp_path if request.param == "folder" else request.getfixturevalue("bucket")
    return place / "journal.log"


def numbers(path):
    return [each["n"] for each in opened(path).read_logs(0)]


def test_a_journal_is_a_file_or_objects(tmp_path, bucket):
    assert isinstance(opened(tmp_path / "journal.log"), LogFile)
    assert isinstance(opened(bucket / "journal.log"), LogObjects)


def test_what_was_synced_is_read_by_the_next_driver(path):
    journal = opened(path)
    for n in range(5):
        journal.append_logs([{"n": n}])
        journal.sync()

    assert numbers(path) == [0, 1, 2, 3, 4]


def test_a_driver_reads_each_log_once_and_its_own_too(path):
    journal = opened(path)
    journal.append_logs([{"n": 0}, {"n": 1}])
    assert [each["n"] for each in journal.read_logs(0)] == [0, 1]
    journal.append_logs([{"n": 2}])
    assert [each["n"] for each in journal.read_logs(2)] == [2]


def test_a_driver_that_goes_on_appends_behind_what_is_there(path):
    for n in range(4):
        journal = opened(path)
        journal.append_logs([{"n": 2 * n}, {"n": 2 * n + 1}])
        journal.sync()

    assert numbers(path) == list(range(8))


def test_in_s3_a_sync_with_nothing_new_puts_nothing(bucket):
    journal = opened(bucket / "journal.log")
    journal.append_logs([{"n": 0}])
    for _ in range(3):
        journal.sync()

    assert len(list((bucket / "journal.log").glob("*.log"))) == 1


def test_many_objects_are_joined_when_the_next_driver_opens_them(bucket, monkeypatch):
    monkeypatch.setattr(log, "_MANY", 3)
    path = bucket / "journal.log"
    journal = opened(path)
    for n in range(8):
        journal.append_logs([{"n": n}])
        journal.sync()

    assert numbers(path) == list(range(8))
    assert [each.name for each in path.glob("*.log")] == ["000000000.log"]
    assert numbers(path) == list(range(8))


def test_a_kill_between_joining_and_deleting_repeats_no_line(bucket):
    path = bucket / "journal.log"
    journal = opened(path)
    for n in range(4):
        journal.append_logs([{"n": n}])
        journal.sync()
    whole = b"".join(each.read_bytes() for each in path.glob("*.log"))

    (path / "000000000.log").write_bytes(whole)

    assert numbers(path) == [0, 1, 2, 3]


def test_a_journal_with_a_gap_is_refused(bucket):
    path = bucket / "journal.log"
    journal = opened(path)
    for n in range(3):
        journal.append_logs([{"n": n}])
        journal.sync()
    (path / "000000001.log").unlink()

    with pytest.raises(FerError, match="has lost lines 1 to 2; it cannot go on"):
        opened(path)


def test_optuna_keeps_a_study_in_s3(bucket):
    import optuna

    backend = opened(bucket / "journal.log")
    study = optuna.create_study(storage=JournalStorage(backend), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    backend.sync()

    again = JournalStorage(opened(bucket / "journal.log"))
    loaded = optuna.load_study(storage=again, study_name="s")

    assert [trial.value for trial in loaded.trials] == [trial.value for trial in study.trials]
