import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.storage.shared_store import (
    CachedStore,
    SharedPlace,
    Store,
    evict,
    free_bytes,
    open_store,
)
from fer_core.storage.stages import Shard, SharedWork, Tally, read_or_make

ARRAY = np.arange(1000, dtype=np.float32).reshape(10, 100)


@pytest.fixture(params=["mount", "s3"])
def place(request, tmp_path):
    return tmp_path / "mount" if request.param == "mount" else request.getfixturevalue("bucket")


@pytest.fixture
def on(place, tmp_path):
    """Open the shared store as a machine of this name does."""

    def machine(name, **values):
        return CachedStore(SharedPlace(place, cache=str(tmp_path / name), **values))

    return machine


def shard(made, name="a", seconds=100.0, array=ARRAY, **values):
    def make():
        made.append(name)
        return array, {"seconds": seconds}

    return Shard("views", {"name": name}, make, **values)


def test_a_store_is_of_this_machine_unless_it_is_shared(tmp_path):
    assert isinstance(open_store(tmp_path), Store)
    assert isinstance(open_store(SharedPlace(tmp_path)), CachedStore)


def test_what_one_machine_makes_another_reads(on):
    on("one").put("views", "k", ARRAY, {"clips": ["a"]})

    entry = on("two").get("views", "k")

    np.testing.assert_array_equal(entry.array, ARRAY)
    assert entry.meta == {"clips": ["a"]}
    assert on("two").has("views", "k")


def test_what_nobody_made_is_not_there(on):
    assert on("one").get("views", "k") is None
    assert not on("one").has("views", "k")


def test_a_stage_is_made_once_for_all_machines(on):
    made = []

    for name in ("one", "two", "three"):
        (entry,) = read_or_make(on(name), [shard(made)], Tally())
        np.testing.assert_array_equal(entry.array, ARRAY)

    assert made == ["a"]


def test_what_is_fetched_while_another_process_looks_for_work_arrives(on):
    """Who takes a lease clears what a killed maker left, not what is just being written."""
    large = np.zeros((1000, 2000), dtype=np.float32)
    on("one").put("views", "k", large, {})
    two, done = on("two"), threading.Event()

    def look_for_work():
        while not done.is_set():
            with Store(two.root).lease("views", "k"):
                pass

    with ThreadPoolExecutor(1) as alone:
        looking = alone.submit(look_for_work)
        try:
            for _ in range(20):
                assert two.get("views", "k").array.shape == large.shape
                two.local.path("views", "k").unlink()
        finally:
            done.set()
    looking.result()


def test_what_was_damaged_on_its_way_is_made_again(on, place):
    on("one").put("views", "k", ARRAY, {})
    content = (place / "views" / "k.npy").read_bytes()
    write_atomically(place / "views" / "k.npy", content[:-4] + b"\0\0\0\1")

    assert on("two").get("views", "k") is None


def test_a_damaged_sidecar_counts_as_none(on, place):
    on("one").put("views", "k", ARRAY, {})
    write_atomically(place / "views" / "k.json", b"{")

    assert on("two").get("views", "k") is None
    assert not on("two").has("views", "k")


def test_an_entry_that_was_given_up_is_fetched_again(on):
    on("one").put("views", "k", ARRAY, {})
    store = on("two")
    entry = store.get("views", "k")

    for path in store.root.glob("views/k.*"):
        path.unlink()

    np.testing.assert_array_equal(entry.array, ARRAY)


class Fixed:
    """Leases that are held elsewhere, or free."""

    def __init__(self, free):
        self.free = free

    @contextmanager
    def take(self, name):
        yield self.free


def test_what_another_machine_is_making_is_waited_for(on):
    store = on("one", leases=Fixed(False))

    with store.lease("views", "k") as mine:
        assert not mine
    with on("two", leases=Fixed(True)).lease("views", "k") as mine:
        assert mine


@pytest.mark.parametrize(("seconds", "again"), [(0.0, ["3", "4", "5"]), (100.0, [])])
def test_what_is_faster_made_than_fetched_is_made_again_and_kept_here(on, seconds, again):
    read_or_make(on("one"), [shard([], str(i), seconds=seconds) for i in range(6)], Tally())
    store, made = on("two"), []
    for i in range(3):  # they tell how fast fetching is
        early = shard([], str(i))
        store.get(early.stage, early.key)

    read_or_make(store, [shard(made, str(i), array=ARRAY + 1) for i in range(3, 6)], Tally())

    assert made == again
    theirs = on("three").get("views", shard([], "5").key)
    np.testing.assert_array_equal(theirs.array, ARRAY)


def test_what_would_differ_is_never_made_again(on):
    read_or_make(on("one"), [shard([], str(i), seconds=0.0, once=True) for i in range(6)], Tally())
    store, made = on("two"), []

    read_or_make(store, [shard(made, str(i), seconds=0.0, once=True) for i in range(6)], Tally())

    assert made == []


def test_a_pass_makes_only_what_no_machine_has(on):
    one, two, asked = Shard("f", {"d": 1}, _never), Shard("f", {"d": 2}, _never), []

    def make(wanted):
        asked.append(set(wanted))
        return {key: (ARRAY, {"seconds": 100.0}) for key in wanted}

    work = SharedWork("p", (one.key, two.key), make)
    on("one").put("f", one.key, ARRAY, {"seconds": 100.0})

    read_or_make(on("two"), [Shard("f", {"d": 2}, work)], Tally())

    assert asked == [{two.key}]


def _never():
    raise AssertionError


def test_what_a_machine_alone_has_is_given_to_all_when_it_is_asked_for(on, place):
    on("one").put("views", "k", ARRAY, {})
    for name in ("k.npy", "k.json"):  # as where its maker was killed before it gave it away
        (place / "views" / name).unlink()

    assert on("one").has("views", "k")
    np.testing.assert_array_equal(on("two").get("views", "k").array, ARRAY)


def test_what_was_given_up_and_comes_back_damaged_is_not_trusted(on, place):
    store = on("one")
    entry = store.put("views", "k", ARRAY, {})
    content = (place / "views" / "k.npy").read_bytes()
    write_atomically(place / "views" / "k.npy", content[:-4] + b"\0\0\0\1")
    for path in store.root.glob("views/k.*"):
        path.unlink()

    with pytest.raises(FerError, match="gone from the store, or damaged"):
        _ = entry.array
    assert store.get("views", "k") is None


@pytest.mark.parametrize("sidecar", [b'{"dtype":"float64","shape":[3]}', b"[]", b'{"meta":{}}'])
def test_a_sidecar_that_says_too_little_counts_as_none(on, place, sidecar):
    on("one").put("views", "k", ARRAY, {})
    write_atomically(place / "views" / "k.json", sidecar)

    assert on("two").get("views", "k", can_remake=True) is None


def test_an_entry_without_its_array_is_given_anew_by_who_has_it(on, place):
    on("one").put("views", "k", ARRAY, {})
    (place / "views" / "k.npy").unlink()

    assert not on("two").has("views", "k")
    assert on("one").has("views", "k")
    assert on("two").has("views", "k")


def test_what_killed_processes_left_in_a_cache_is_deleted(on):
    store = on("one")
    store.put("views", "k", ARRAY, {})
    left, fresh = (store.root / "views" / f".k.npy.{n}.tmp" for n in "ab")
    for path in (left, fresh):
        path.write_bytes(b"x")
    os.utime(left, (1, 1))

    evict(store.root, 10 * ARRAY.nbytes)

    assert (left.exists(), fresh.exists()) == (False, True)


def test_a_cache_knows_which_store_it_is_of(tmp_path):
    one, two = (SharedPlace(tmp_path / name, cache=str(tmp_path / "cache")) for name in "ab")
    CachedStore(one).put("views", "k", ARRAY, {})

    assert CachedStore(two).get("views", "k") is None


def test_a_full_cache_gives_up_what_was_not_read_for_longest(on):
    store = on("one", cache_bytes=10 * ARRAY.nbytes)
    for i in range(40):
        entry = store.put("views", str(i), ARRAY, {})
        os.utime(entry.path, (i, i))

    evict(store.root, 10 * ARRAY.nbytes)

    left = sorted(int(path.stem) for path in store.root.glob("views/*.npy"))
    assert left == list(range(40 - len(left), 40))
    assert 0 < len(left) <= 10
    np.testing.assert_array_equal(store.get("views", "0").array, ARRAY)  # all have it still


def test_a_cache_stays_near_its_bound_while_it_is_filled(on):
    bound = 10 * ARRAY.nbytes
    store = on("one", cache_bytes=bound)
    for i in range(60):
        entry = store.put("views", str(i), ARRAY, {})
        old = time.time() - 3600 + i
        os.utime(entry.path, (old, old))

    assert sum(path.stat().st_size for path in store.root.glob("views/*.npy")) <= 1.5 * bound


def test_what_is_in_use_is_not_given_up(on):
    store = on("one")
    for i in range(5):
        store.put("views", str(i), ARRAY, {})

    evict(store.root, ARRAY.nbytes)

    assert len(list(store.root.glob("views/*.npy"))) == 5


def test_the_room_of_a_shared_store_is_its_cache_s(tmp_path):
    assert free_bytes(SharedPlace(tmp_path, cache=str(tmp_path / "c"), cache_bytes=1000)) == 1000
    assert free_bytes(SharedPlace(tmp_path, cache=str(tmp_path / "c"))) > 0


GATHERING = """
import sys
import numpy as np
from pathlib import Path
from fer_core.storage import paths
from fer_core.storage.stages import Shard, Tally, read_or_make
from fer_core.storage.shared_store import SharedPlace, CachedStore

def shard(name):
    return Shard("views", {"name": name}, lambda: (np.zeros(9), {"seconds": 100.0}))

tally = Tally()
store = CachedStore(SharedPlace(paths.parse(sys.argv[1]), cache=sys.argv[2]))
read_or_make(store, [shard(str(i)) for i in range(8)], tally)
print(int(tally.work.stages_made))
"""


def test_processes_of_a_machine_share_its_cache_and_its_work(place, tmp_path):
    command = [sys.executable, "-c", GATHERING, str(place), str(tmp_path / "one")]
    root = Path(__file__).parents[3]
    processes = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]

    made = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(made) == 8


def test_a_sidecar_says_what_all_need_to_know(on, place):
    on("one").put("views", "k", ARRAY, {"seconds": 2.0})

    sidecar = json.loads((place / "views" / "k.json").read_bytes())

    assert (sidecar["shape"], sidecar["meta"]["seconds"]) == ([10, 100], 2.0)


def as_format(path, number):
    """Give a sidecar another format number; None removes it, as entries of format 1 have none."""
    sidecar = json.loads(path.read_bytes())
    del sidecar["format"]
    known = sidecar if number is None else sidecar | {"format": number}
    write_atomically(path, json.dumps(known).encode())


def test_an_entry_without_a_format_is_read_by_all_machines(on, place):
    on("one").put("views", "k", ARRAY, {})
    as_format(place / "views" / "k.json", None)

    np.testing.assert_array_equal(on("two").get("views", "k").array, ARRAY)
    assert on("three").has("views", "k")


def test_an_entry_of_a_newer_format_is_refused_by_all_machines(on, place):
    made = []
    read_or_make(on("one"), [shard(made)], Tally())
    (key,) = [path.stem for path in (place / "views").glob("*.json")]
    path = place / "views" / f"{key}.json"
    as_format(path, 99)

    with pytest.raises(FerError, match=re.escape(f"{path} has format 99")) as refusal:
        read_or_make(on("two"), [shard(made)], Tally())
    with pytest.raises(FerError, match="has format 99"):
        on("two").has("views", key)

    assert "\n" not in str(refusal.value)
    assert made == ["a"]
    assert json.loads(path.read_bytes())["format"] == 99


def test_a_cached_entry_of_a_newer_format_is_refused(on):
    store = on("one")
    store.put("views", "k", ARRAY, {})
    as_format(store.root / "views" / "k.json", 99)

    with pytest.raises(FerError, match=re.escape(f"{store.root}/views/k.json has format 99")):
        on("one").get("views", "k")
