import json
import multiprocessing
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.stages import Shard, Tally, gather
from fer_core.store import Store, key_of

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
    gather(Store(root), shards(log), Tally())


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
    gather(Store(tmp_path / "store"), shards(log), Tally())

    entries = gather(Store(tmp_path / "store"), shards(log), tally)

    assert [int(entry.array[0]) for entry in entries] == list(range(6))
    assert (tally.work.stages_made, tally.work.stages_read) == (0, 6)


def test_a_corrupt_shard_is_made_again(tmp_path):
    log, tally, store = tmp_path / "log", Tally(), Store(tmp_path / "store")
    gather(store, shards(log), Tally())
    sidecar = store.root / "squares" / f"{shards(log)[2].key}.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"sha256": "0"}))

    entries = gather(Store(store.root), shards(log), tally)

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
