import errno
import json
import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import FerError
from fer_core.storage.stages import Shard, SharedWork, Tally, read_or_make
from fer_core.storage.store import FORMAT, Store, key_of

ARRAY = np.arange(12, dtype=np.float16).reshape(3, 4)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_what_is_put_is_got_back_with_its_meta(store):
    store.put("views", "k", ARRAY, {"clips": ["a"]})

    entry = Store(store.root).get("views", "k")

    np.testing.assert_array_equal(entry.array, ARRAY)
    assert entry.meta == {"clips": ["a"]}


def test_an_array_without_items_can_be_kept_too(store):
    store.put("views", "k", np.zeros((0, 5), np.uint8), {})

    assert Store(store.root).get("views", "k").array.shape == (0, 5)


def test_an_absent_entry_is_none(store):
    assert store.get("views", "k") is None


@pytest.mark.parametrize("at", [0, 60, -1])
def test_a_flipped_byte_makes_an_entry_absent(store, at):
    store.put("views", "k", ARRAY, {})
    path = store.root / "views" / "k.npy"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)

    assert Store(store.root).get("views", "k") is None


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_truncated_file_makes_an_entry_absent(store, suffix):
    store.put("views", "k", ARRAY, {})
    path = (store.root / "views" / "k").with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-5])

    assert Store(store.root).get("views", "k") is None


@pytest.mark.parametrize("sidecar", ["null", "[]", "{}", '{"sha256": 1}', "?"])
def test_a_sidecar_that_says_nothing_makes_an_entry_absent(store, sidecar):
    store.put("views", "k", ARRAY, {})
    (store.root / "views" / "k.json").write_text(sidecar)

    assert Store(store.root).get("views", "k") is None


def test_an_altered_meta_makes_an_entry_absent(store):
    store.put("views", "k", ARRAY, {"clips": ["a"]})
    path = store.root / "views" / "k.json"
    path.write_text(path.read_text().replace('"a"', '"b"'))

    assert Store(store.root).get("views", "k") is None


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_an_entry_that_cannot_be_read_is_absent(suffix, store):
    entry = store.put("stage", "key", np.arange(3), {})
    path = entry.path.with_suffix(suffix)
    path.unlink()
    path.mkdir()

    assert Store(store.root).get("stage", "key") is None


def test_others_may_read_what_is_written(store):
    umask = os.umask(0o022)
    try:
        store.put("views", "k", ARRAY, {})
    finally:
        os.umask(umask)

    assert (store.root / "views" / "k.npy").stat().st_mode & 0o777 == 0o644


def test_an_array_whose_sidecar_was_never_written_is_not_trusted(store):
    store.put("views", "k", ARRAY, {})
    (store.root / "views" / "k.json").unlink()

    assert Store(store.root).get("views", "k") is None


def test_a_failed_write_leaves_the_old_entry_and_no_litter(store):
    store.put("views", "k", ARRAY, {})

    with pytest.raises(ValueError, match="Object arrays"):
        store.put("views", "k", np.array([object()]), {})

    np.testing.assert_array_equal(Store(store.root).get("views", "k").array, ARRAY)
    assert not list(store.root.rglob("*.tmp"))


def test_two_holders_of_one_lease_are_one_too_many(store):
    with store.lease("views", "k") as first, store.lease("views", "k") as second:
        assert first
        assert not second
    with store.lease("views", "k") as third:
        assert third


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), min_size=1))
def test_a_key_depends_on_every_part_and_on_no_order(parts):
    shuffled = dict(reversed(parts.items()))
    changed = dict(parts) | {next(iter(parts)): "another value \x00"}

    assert key_of(shuffled) == key_of(parts)
    assert key_of(changed) != key_of(parts)


def shards(log):
    def make(i):
        with log.open("a") as file:
            file.write(f"{i}\n")
        return np.full(3, i), {"i": i}

    return [Shard("squares", {"i": i}, lambda i=i: make(i)) for i in range(6)]


def work(root, log):
    read_or_make(Store(root), shards(log), Tally())


def test_several_workers_make_every_shard_once(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(tmp_path / "store", log)) for _ in range(4)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(log.read_text().split()) == [str(i) for i in range(6)]


def test_a_second_gathering_makes_nothing(tmp_path):
    log, tally = tmp_path / "log", Tally()
    read_or_make(Store(tmp_path / "store"), shards(log), Tally())

    entries = read_or_make(Store(tmp_path / "store"), shards(log), tally)

    assert [int(entry.array[0]) for entry in entries] == list(range(6))
    assert (tally.work.stages_made, tally.work.stages_read) == (0, 6)


def test_a_corrupt_shard_is_made_again(tmp_path):
    log, tally, store = tmp_path / "log", Tally(), Store(tmp_path / "store")
    read_or_make(store, shards(log), Tally())
    sidecar = store.root / "squares" / f"{shards(log)[2].key}.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"sha256": "0"}))

    entries = read_or_make(Store(store.root), shards(log), tally)

    assert entries[2].array.tolist() == [2, 2, 2]
    assert tally.work.stages_made == 1


def test_what_a_killed_maker_left_is_removed_by_the_next_one(tmp_path):
    store = Store(tmp_path)
    store.put("views", "a", np.zeros(3), {})
    half = tmp_path / "views" / ".b.npy.0123.tmp"
    half.write_bytes(b"half")

    with store.lease("views", "a"):
        kept = half.exists()
    with store.lease("views", "b") as leased:
        assert leased

    assert (kept, half.exists()) == (True, False)


def test_an_entry_keeps_no_file_open(tmp_path):
    store = Store(tmp_path)
    before = len(os.listdir("/proc/self/fd"))

    entries = [store.put("views", str(i), np.arange(100), {}) for i in range(20)]
    sums = [int(entry.array.sum()) for entry in entries]

    assert sums == [4950] * 20
    assert len(os.listdir("/proc/self/fd")) == before


LARGE = np.arange(2**23, dtype=np.float64)  # takes a while to write and to hash


def in_another_process(target, *args):
    process = multiprocessing.get_context("fork").Process(target=target, args=args)
    process.start()
    return process


def large(root):
    read_or_make(Store(root), [Shard("large", {}, lambda: (LARGE, {}))], Tally())


@pytest.mark.parametrize("written", ["*.tmp", "*.npy"])
def test_an_entry_whose_maker_is_killed_while_it_writes_is_made_again(written, tmp_path):
    maker = in_another_process(large, tmp_path)
    while not list((tmp_path / "large").glob(f".{written}" if written == "*.tmp" else written)):
        time.sleep(1e-3)
        assert maker.is_alive()
    os.kill(maker.pid, signal.SIGKILL)
    maker.join()

    entry = read_or_make(Store(tmp_path), [Shard("large", {}, lambda: (LARGE, {}))], Tally())[0]

    np.testing.assert_array_equal(entry.array, LARGE)
    assert not list(tmp_path.rglob("*.tmp"))


def put_on_a_full_disk(root, room_bytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))  # a write then falls short
    try:
        Store(root).put("views", "k", np.zeros(10**5, np.uint8), {})
    except OSError as error:
        os._exit(3 if error.errno in (errno.ENOSPC, errno.EFBIG) else 4)
    os._exit(0)


@pytest.mark.parametrize("room_bytes", [0, 64, 5000])
def test_a_full_disk_is_said_and_leaves_the_old_entry_and_no_litter(room_bytes, store):
    store.put("views", "k", ARRAY, {})

    writer = in_another_process(put_on_a_full_disk, store.root, room_bytes)
    writer.join()

    assert writer.exitcode == 3
    np.testing.assert_array_equal(Store(store.root).get("views", "k").array, ARRAY)
    assert not list(store.root.rglob("*.tmp"))


def pass_over(log, wanted):
    """Make squares and cubes of one number together; say in `log` what was made at once."""
    keys = {key_of({"stage": "powers", "n": 3, "to": to}): to for to in (2, 3)}

    def make(missing):
        with log.open("a") as file:
            file.write("".join(str(to) for key, to in keys.items() if key in missing) + " ")
        time.sleep(0.05)
        return {
            key: (np.full(2, 3.0**to), {"seconds": 1.0})
            for key, to in keys.items()
            if key in missing
        }

    return Shard("powers", {"n": 3, "to": wanted}, SharedWork("pass", tuple(keys), make))


def want(root, log, wanted):
    read_or_make(Store(root), [pass_over(log, wanted)], Tally())


def test_a_pass_makes_all_its_shards_at_once_whoever_asks_for_which(tmp_path):
    log = tmp_path / "log"

    workers = [in_another_process(want, tmp_path / "store", log, to) for to in (2, 3, 2, 3)]
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert log.read_text() == "23 "


@pytest.mark.parametrize("lost", [2, 3])
def test_what_a_pass_made_before_is_not_made_again(lost, tmp_path):
    log, store = tmp_path / "log", Store(tmp_path / "store")
    want(store.root, log, 2)
    lost_key = pass_over(log, lost).key
    (store.root / "powers" / f"{lost_key}.json").unlink()

    entry = read_or_make(store, [pass_over(log, lost)], Tally())[0]

    assert log.read_text() == f"23 {lost} "
    assert entry.array.tolist() == [3.0**lost] * 2


def test_a_corrupt_tap_is_made_again_with_those_that_are_there_left_alone(tmp_path):
    log, store = tmp_path / "log", Store(tmp_path / "store")
    want(store.root, log, 2)
    path = store.root / "powers" / f"{pass_over(log, 3).key}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    entry = read_or_make(Store(store.root), [pass_over(log, 3)], Tally())[0]

    assert log.read_text() == "23 3 "
    assert entry.array.tolist() == [27.0, 27.0]


def test_seconds_that_the_store_saved_are_those_of_what_was_read(tmp_path):
    log, first, second = tmp_path / "log", Tally(), Tally()
    read_or_make(Store(tmp_path), [pass_over(log, 2)], first)

    read_or_make(Store(tmp_path), [pass_over(log, 2)], second)

    assert (first.work.seconds_saved, second.work.seconds_saved) == (0, 1)
    assert (first.work.stages_made, second.work.stages_made) == (2, 0)


def test_every_entry_says_how_long_it_took_to_make(tmp_path):
    def slow():
        time.sleep(0.02)
        return ARRAY, {"n": 1}

    entry = read_or_make(Store(tmp_path), [Shard("slow", {}, slow)], Tally())[0]

    assert 0.02 <= Store(tmp_path).get("slow", key_of({"stage": "slow"})).seconds < 2
    assert entry.meta["n"] == 1


def as_format(path, number):
    """Give a sidecar another format number; None removes it, as entries of format 1 have none."""
    sidecar = json.loads(path.read_text())
    del sidecar["format"]
    path.write_text(json.dumps(sidecar if number is None else sidecar | {"format": number}))


def test_an_entry_of_today_has_the_newest_format(store):
    store.put("views", "k", ARRAY, {})

    assert json.loads((store.root / "views" / "k.json").read_text())["format"] == FORMAT


def test_an_entry_without_a_format_is_read_and_left_as_it_is(store):
    store.put("views", "k", ARRAY, {"clips": ["a"]})
    path = store.root / "views" / "k.json"
    as_format(path, None)
    before = path.read_bytes()

    entry = Store(store.root).get("views", "k")

    np.testing.assert_array_equal(entry.array, ARRAY)
    assert entry.meta == {"clips": ["a"]}
    assert path.read_bytes() == before


def test_an_entry_of_a_newer_format_is_refused_and_not_made_again(tmp_path):
    log, store = tmp_path / "log", Store(tmp_path / "store")
    read_or_make(store, shards(log), Tally())
    path = store.root / "squares" / f"{shards(log)[2].key}.json"
    as_format(path, 99)
    before = log.read_text()

    with pytest.raises(FerError, match=f"{path} has format 99") as refusal:
        read_or_make(Store(store.root), shards(log), Tally())

    assert "\n" not in str(refusal.value)
    assert log.read_text() == before
    assert json.loads(path.read_text())["format"] == 99


@pytest.mark.parametrize("number", [0, -1, "2", 2.0, True, []])
def test_an_entry_with_a_damaged_format_is_absent(number, store):
    store.put("views", "k", ARRAY, {})
    as_format(store.root / "views" / "k.json", number)

    assert Store(store.root).get("views", "k") is None
